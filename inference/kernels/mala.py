"""The Metropolis-adjusted Langevin algorithm."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import plain_settings
from ..noise.keyed import Generator, standard_normal, uniform
from .acceptance import metropolis
from .base import EnergyAndGradient, Info, StepSize, check_settings, full_step_size
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

    state_type: ClassVar = MALAState
    tuned: ClassVar = ("step_size", "scale")

    def __post_init__(self) -> None:
        plain_settings(self)
        check_settings(self.step_size, self.target_acceptance)
        check_mass(self.mass)

    def init(self, position: Tensor, potential: EnergyAndGradient) -> MALAState:
        """Return the state at a position."""
        energy, gradient = potential(position)
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
        whitened = scaled_back(scale_of_step, gradient)
        proposal = position + scaled(scale_of_step, torch.sub(noise, whitened, alpha=0.5))
        new_energy, new_gradient = potential(proposal)
        # The noise of the move back is w/2 - ξ, w the sum of both whitened gradients. Folded for
        # rounding: (|w/2 - ξ|² - |ξ|²) / 2 = -w'(ξ - w/4) / 2, where ξ'ξ has cancelled.
        both = scaled_back(scale_of_step, gradient + new_gradient)
        product = (both * torch.sub(noise, both, alpha=0.25)).sum(1)
        error = torch.sub(new_energy - energy, product, alpha=0.5)
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
