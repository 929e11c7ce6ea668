"""The path length that decorrelates an example's draws most, learned in warmup."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LEARNING_RATE = 0.025
DECAY = 0.95


class PathLengthAdaptation(NamedTuple):
    """State of the ascent of log T, each field (n,)."""

    log_length: Float[Tensor, " n"]
    log_sum: Float[Tensor, " n"]
    squared_gradient: Float[Tensor, " n"]
    num_updates: Float[Tensor, " n"]


def start_path_length(length: Float[Tensor, " n"]) -> PathLengthAdaptation:
    """Return the state before the first update."""
    zeros = torch.zeros_like(length)
    return PathLengthAdaptation(length.log(), zeros, zeros, zeros)


def update_path_length(
    state: PathLengthAdaptation,
    start: Float[Tensor, "c n d"],
    end: Float[Tensor, "c n d"],
    momentum: Float[Tensor, "c n d"],
    share: Float[Tensor, "c n"],
    acceptance_rate: Float[Tensor, "c n"],
) -> PathLengthAdaptation:
    """Return the state after one more trajectory of each of an example's c chains.

    ``start`` and ``end`` are centred at the posterior mean and whitened, ``momentum`` is that at
    the end and ``share`` the trajectory's length over T. The criterion is
    ``E[(|x'|² - |x|²)²] / 4``; its derivative in T is ``share (|x'|² - |x|²) x'·p'``.

    References
    ----------
    Hoffman, Radul & Sountsov (2021), section 4.1, with Adam's scaling as there.
    """
    change = (end**2).sum(2) - (start**2).sum(2)
    derivative = share * change * (end * momentum).sum(2)
    weight = torch.where(derivative.isfinite(), acceptance_rate, 0.0).nan_to_num()
    pooled = (weight * derivative.nan_to_num(posinf=0.0, neginf=0.0)).sum(0)
    gradient = pooled / weight.sum(0).clamp(min=1e-6) * state.log_length.exp()
    squared = DECAY * state.squared_gradient + (1 - DECAY) * gradient**2
    count = state.num_updates + 1
    root = (squared / (1 - DECAY**count)).sqrt()
    log_length = state.log_length + LEARNING_RATE * gradient / (root + 1e-12)
    return PathLengthAdaptation(log_length, state.log_sum + log_length, squared, count)


def average_path_length(state: PathLengthAdaptation) -> Float[Tensor, " n"]:
    """Return the geometric mean over the updates."""
    count = state.num_updates.clamp(min=1)
    return torch.where(state.num_updates > 0, state.log_sum / count, state.log_length).exp()
