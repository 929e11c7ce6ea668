"""Latents on the circle: chains move on the line that is wound around it."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

_AROUND = (torch.distributions.Independent, dist.MaskedDistribution, dist.ExpandedDistribution)


def is_angle(fn: Any) -> bool:
    """Return whether a distribution is one of angles, though torch says of the real line."""
    while isinstance(fn, (*_AROUND, dist.SineSkewed)):
        fn = fn.base_dist
    if isinstance(fn, torch.distributions.MixtureSameFamily):
        return is_angle(fn.component_distribution)
    return isinstance(fn, torch.distributions.VonMises | dist.SineBivariateVonMises)


def wrapped(angle: Tensor) -> Tensor:
    """Return angles in [-π, π); those that are there already stay as they are, to the bit."""
    inside = (angle >= -math.pi) & (angle < math.pi)
    return torch.where(inside, angle, torch.remainder(angle + math.pi, 2 * math.pi) - math.pi)
