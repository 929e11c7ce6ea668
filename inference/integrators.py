"""Integrators of Hamilton's equations for ``H(z, p) = E(z) + p'p / 2``."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from .kernel import EnergyAndGradient


class Phase(NamedTuple):
    """A point of phase space, with the energy and gradient at its position."""

    position: Float[Tensor, "n d"]
    momentum: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]


def leapfrog(
    phase: Phase, step_size: Float[Tensor, " n"], num_steps: int, potential: EnergyAndGradient
) -> Phase:
    """Follow a trajectory for ``num_steps`` leapfrog steps.

    Reversible (negate the momentum), volume preserving, and of second order: the energy error is
    O(s²). The half steps of the momentum between two position steps are taken together, so the
    gradient is evaluated ``num_steps`` times.

    References
    ----------
    Neal, "MCMC using Hamiltonian dynamics" (2011), section 2.3.
    """
    position, momentum, energy, gradient = phase
    s = step_size[:, None]
    momentum = momentum - 0.5 * s * gradient
    for step in range(num_steps):
        position = position + s * momentum
        energy, gradient = potential(position)
        last = step == num_steps - 1
        momentum = momentum - (0.5 if last else 1.0) * s * gradient
    return Phase(position, momentum, energy, gradient)
