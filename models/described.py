"""Pieces of a model in a line each."""

from html import escape
from typing import Any

import pyro
from torch import Tensor, nn

MOST_KINDS = 4
"""Kinds of columns that are named."""


def described_model(prior: Any, network: nn.Module, observation: Any) -> str:
    """Return a model's three pieces, a line each."""
    with pyro.validation_enabled(False):  # of numbers that may not be there yet
        event = tuple(prior.distribution().event_shape)
    return "\n".join(
        [
            "GeneratorModel(",
            f"  prior: {type(prior).__name__} of latents {event}",
            f"  network: {described_network(network)}",
            f"  observation: {described_observation(observation)}",
            ")",
        ]
    )


def as_html(thing: Any) -> str:
    """Return what a notebook shows of something."""
    return f"<pre>{escape(repr(thing))}</pre>"


def described_observation(observation: Any) -> str:
    """Return an observation with what it wraps, its scale and its inverse link."""
    name = type(observation).__name__.strip("_")
    base, kinds = getattr(observation, "base", None), getattr(observation, "kinds", None)
    if isinstance(base, nn.Module):
        return f"{name}({described_observation(base)})"
    if isinstance(kinds, nn.ModuleList):
        named = [type(kind).__name__.strip("_") for kind in kinds][:MOST_KINDS]
        rest = [f"and {len(kinds) - MOST_KINDS} more"] if len(kinds) > MOST_KINDS else []
        return f"{name}({', '.join(named + rest)})"
    parts = []
    scale, link = getattr(observation, "scale", None), getattr(observation, "inverse_link", None)
    if isinstance(scale, Tensor):
        parts.append(f"scale={_range(scale)}")
    if link is not None:
        parts.append(f"inverse_link={getattr(link, '__name__', type(link).__name__)}")
    return f"{name}({', '.join(parts)})"


def described_network(network: nn.Module) -> str:
    """Return a network's kind and size."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    layers = sum(not list(part.children()) for part in network.modules())
    return f"{type(network).__name__} of {layers} layers, {parameters:,} parameters"


def _range(tensor: Tensor) -> str:
    if tensor.is_meta or tensor.numel() == 0:
        return f"of shape {tuple(tensor.shape)}"
    low, high = float(tensor.detach().min()), float(tensor.detach().max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
