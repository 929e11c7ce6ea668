"""The Metropolis-adjusted Langevin algorithm."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .kernel import (
    EnergyAndGradient,
    Info,
    StepSize,
    check_settings,
    check_start,
    full_step_size,
    metropolis,
)
from .noise import Generator, standard_normal, uniform


class MALAState(NamedTuple):
    """Position with its energy and gradient, and each chain's step size."""

    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]


@dataclass(frozen=True)
class MALA:
    """Langevin proposals, accepted or rejected, so that the exact posterior is left invariant.

    ``z' = z - s²/2 ∇E(z) + s ξ`` with ξ standard normal.

    Parameters
    ----------
    step_size : float or "auto", default "auto"
        s of the paper; ``"auto"`` adapts one for each example.
    target_acceptance : float, default 0.574
        What ``"auto"`` aims at: the optimum for many dimensions.

    Raises
    ------
    ValueError
        If ``step_size`` is not positive or ``target_acceptance`` not in (0, 1).

    References
    ----------
    Roberts & Tweedie, "Exponential convergence of Langevin distributions" (1996);
    Roberts & Rosenthal, "Optimal scaling of discrete approximations to Langevin diffusions"
    (1998).
    """

    step_size: StepSize = "auto"
    target_acceptance: float = 0.574

    def __post_init__(self) -> None:
        check_settings(self.step_size, self.target_acceptance)

    def init(
        self, position: Tensor, potential: EnergyAndGradient, step_size: Tensor | None = None
    ) -> MALAState:
        """Return the state at a position."""
        energy, gradient = potential(position)
        check_start(energy, gradient)
        return MALAState(
            position, energy, gradient, full_step_size(self.step_size, step_size, position)
        )

    def step(
        self, state: MALAState, potential: EnergyAndGradient, generator: Generator
    ) -> tuple[MALAState, Info]:
        """Return the next state and what happened."""
        position, energy, gradient, step_size = state
        s = step_size[:, None]
        noise = standard_normal(generator, position)
        proposal = position - 0.5 * s**2 * gradient + s * noise
        new_energy, new_gradient = potential(proposal)
        # The noise that would bring the proposal back, up to its sign.
        noise_back = noise - 0.5 * s * (gradient + new_gradient)
        error = new_energy - energy + 0.5 * ((noise_back**2).sum(1) - (noise**2).sum(1))
        info = metropolis(energy, error, uniform(generator, energy), num_gradients=1)
        accepted = info.accepted[:, None]
        chosen_energy = torch.where(info.accepted, new_energy, energy)
        return (
            MALAState(
                torch.where(accepted, proposal, position),
                chosen_energy,
                torch.where(accepted, new_gradient, gradient),
                step_size,
            ),
            info._replace(potential_energy=chosen_energy),
        )
