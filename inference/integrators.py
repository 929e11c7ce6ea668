"""Integrators of Hamilton's equations for ``H(z, p) = E(z) + p'p / 2``, p whitened."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .kernel import EnergyAndGradient
from .mass import scaled, scaled_back


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
    momentum = momentum - 0.5 * s * scaled_back(scale, gradient)
    for step in range(num_steps):
        position = position + s * scaled(scale, momentum)
        energy, gradient = potential(position)
        last = step == num_steps - 1
        momentum = momentum - (0.5 if last else 1.0) * s * scaled_back(scale, gradient)
    return Phase(position, momentum, energy, gradient)


def leapfrog_each(
    phase: Phase,
    step_size: Float[Tensor, " n"],
    num_steps: Int64[Tensor, " n"],
    potential: EnergyAndGradient,
    scale: Tensor,
) -> tuple[Phase, int]:
    """Follow trajectories of different length, each for its own number of leapfrog steps.

    All run together until the longest is done; one that has arrived rests. Returns where they end
    and the number of gradients that took.
    """
    longest = int(num_steps.max())
    s = step_size[:, None]
    for step in range(longest):
        position, momentum, _, gradient = phase
        half = momentum - 0.5 * s * scaled_back(scale, gradient)
        new_position = position + s * scaled(scale, half)
        energy, gradient = potential(new_position)
        moved = Phase(new_position, half - 0.5 * s * scaled_back(scale, gradient), energy, gradient)
        going = step < num_steps
        phase = Phase(
            *(
                torch.where(going if new.dim() == 1 else going[:, None], new, old)
                for new, old in zip(moved, phase, strict=True)
            )
        )
    return phase, longest
