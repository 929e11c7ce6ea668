"""Integrators of Hamilton's equations for ``H(z, p) = E(z) + p'p / 2``, p whitened."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .base import EnergyAndGradient
from .scale import scaled, scaled_back


class Phase(NamedTuple):
    """A point of phase space, with the energy and gradient at its position."""

    position: Float[Tensor, "n d"]
    momentum: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]


def leapfrog(
    phase: Phase,
    step_size: Float[Tensor, " n"],
    num_steps: int,
    potential: EnergyAndGradient,
    scale: Tensor,
) -> Phase:
    """Follow a trajectory for ``num_steps`` leapfrog steps.

    Reversible (negate the momentum), volume preserving, and of second order: the energy error is
    O(s²). The half steps of the momentum between two position steps are taken together, so the
    gradient is evaluated ``num_steps`` times. ``scale`` is L of the inverse mass ``L Lᵀ``.

    References
    ----------
    Neal, "MCMC using Hamiltonian dynamics" (2011), section 2.3.
    """
    position, momentum, energy, gradient = phase
    s = step_size[:, None]
    momentum = torch.addcmul(momentum, s, scaled_back(scale, gradient), value=-0.5)
    for step in range(num_steps):
        kick = 0.5 * s if step == num_steps - 1 else s
        position, momentum, energy, gradient = one_step(
            potential, position, momentum, s, kick, scale
        )
    return Phase(position, momentum, energy, gradient)


def one_step(potential: EnergyAndGradient, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return position, momentum, energy and gradient after a drift and a kick."""
    position, momentum, drift, kick, scale = tensors
    position = torch.addcmul(position, drift, scaled(scale, momentum))
    energy, gradient = potential(position)
    momentum = torch.addcmul(momentum, kick, scaled_back(scale, gradient), value=-1)
    return position, momentum, energy, gradient
