"""The Metropolis-adjusted Langevin algorithm."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..noise.keyed import Generator, standard_normal, uniform
from .base import (
    EnergyAndGradient,
    Info,
    StepSize,
    check_settings,
    check_start,
    full_step_size,
    metropolis,
)
from .scale import Mass, check_mass, per_row, scaled, scaled_back, unit_scale


class MALAState(NamedTuple):
    """Position with its energy and gradient, and each chain's step size and scale."""

    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]
    scale: Tensor


@dataclass(frozen=True)
class MALA:
    """Langevin proposals, accepted or rejected, so that the exact posterior is left invariant.

    ``z' = z - s²/2 L Lᵀ ∇E(z) + s L ξ`` with ξ standard normal and ``L Lᵀ`` the inverse mass, the
    identity by default.

    Parameters
    ----------
    step_size : float or "auto", default "auto"
        s of the paper; ``"auto"`` adapts one for each example.
    target_acceptance : float, default 0.574
        What ``"auto"`` aims at: the optimum for many dimensions.
    mass : "identity", "diagonal", "dense" or "auto", default "identity"
        What warmup adapts to the posterior of each example; with a fixed ``step_size`` nothing is
        adapted and the mass is the identity.

    Raises
    ------
    ValueError
        If ``step_size`` is not positive, ``target_acceptance`` not in (0, 1) or ``mass`` unknown.

    References
    ----------
    Roberts & Tweedie, "Exponential convergence of Langevin distributions" (1996);
    Roberts & Rosenthal, "Optimal scaling of discrete approximations to Langevin diffusions"
    (1998).
    """

    step_size: StepSize = "auto"
    target_acceptance: float = 0.574
    mass: Mass = "identity"

    def __post_init__(self) -> None:
        check_settings(self.step_size, self.target_acceptance)
        check_mass(self.mass)

    def init(self, position: Tensor, potential: EnergyAndGradient) -> MALAState:
        """Return the state at a position."""
        energy, gradient = potential(position)
        check_start(energy, gradient)
        return MALAState(
            position,
            energy,
            gradient,
            full_step_size(self.step_size, position),
            unit_scale(position),
        )

    def step(
        self, state: MALAState, potential: EnergyAndGradient, generator: Generator
    ) -> tuple[MALAState, Info]:
        """Return the next state and what happened."""
        position, energy, gradient, step_size, scale = state
        scale_of_step = per_row(step_size, scale) * scale
        noise = standard_normal(generator, position)
        drift = scaled_back(scale_of_step, gradient)
        proposal = position + scaled(scale_of_step, torch.sub(noise, drift, alpha=0.5))
        new_energy, new_gradient = potential(proposal)
        # The noise that would bring the proposal back is the drifts' mean less the noise; in
        # (|back|² - |noise|²) / 2 the noise's own square is left out before it is rounded.
        drifts = scaled_back(scale_of_step, gradient + new_gradient)
        squares = (drifts * torch.sub(noise, drifts, alpha=0.25)).sum(1)
        error = torch.sub(new_energy - energy, squares, alpha=0.5)
        info = metropolis(energy, error, uniform(generator, energy), num_gradients=1)
        chosen_energy = torch.where(info.accepted, new_energy, energy)
        moved = info.accepted[:, None]
        return (
            MALAState(
                torch.where(moved, proposal, position),
                chosen_energy,
                torch.where(moved, new_gradient, gradient),
                step_size,
                scale,
            ),
            info._replace(potential_energy=chosen_energy),
        )
