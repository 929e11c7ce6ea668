"""Gradient descent on the latents: the Langevin dynamics with its noise removed."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import plain_settings
from ..noise.keyed import Generator
from .acceptance import is_finite, undo_divergence
from .base import EnergyAndGradient, Info, StepSize, check_settings, full_step_size


class GradientDescentState(NamedTuple):
    """Position and step size, and where the last move came from (its energy is NaN at first)."""

    position: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]
    last_position: Float[Tensor, "n d"]
    last_energy: Float[Tensor, " n"]
    last_gradient: Float[Tensor, "n d"]


@dataclass(frozen=True)
class GradientDescent:
    """Descend the energy, ``z' = z - s²/2 ∇E(z)``: towards the posterior mode, not a sampler.

    With it the loop is the paper's alternating gradient descent.

    Parameters
    ----------
    step_size : float or "auto", default "auto"
        s, of which half the square multiplies the gradient, as in the Langevin dynamics.
    target_acceptance : float, default 0.9
        What ``"auto"`` aims at: the share of moves that lowered the energy.

    Raises
    ------
    ValueError
        If ``step_size`` is not positive or ``target_acceptance`` not in (0, 1).

    References
    ----------
    Han et al. (2017), section "Alternating back-propagation": "the alternating gradient descent
    algorithm".
    """

    step_size: StepSize = "auto"
    target_acceptance: float = 0.9

    state_type: ClassVar = GradientDescentState
    tuned: ClassVar = ("step_size",)

    def __post_init__(self) -> None:
        plain_settings(self)
        check_settings(self.step_size, self.target_acceptance)

    def init(self, position: Tensor, potential: EnergyAndGradient) -> GradientDescentState:
        """Return the state at a position; evaluates nothing."""
        return GradientDescentState(
            position,
            full_step_size(self.step_size, position),
            position,
            torch.full_like(position[:, 0], torch.nan),
            torch.zeros_like(position),
        )

    def step(
        self, state: GradientDescentState, potential: EnergyAndGradient, generator: Generator
    ) -> tuple[GradientDescentState, Info]:
        """Return the next state; the move before it is undone if it has diverged."""
        energy, gradient = potential(state.position)
        energy_error = energy - state.last_energy
        diverged, position, energy, gradient, error = undo_divergence(
            state, energy, gradient, energy_error, is_finite(energy, gradient)
        )
        info = Info(
            acceptance_rate=torch.where(error.isnan(), torch.nan, (error <= 0).to(error.dtype)),
            accepted=~diverged,
            diverging=diverged,
            energy_error=energy_error,
            potential_energy=energy,
            num_gradients=1,
        )
        return (
            GradientDescentState(
                position - 0.5 * state.step_size[:, None] ** 2 * gradient,
                state.step_size,
                position,
                energy,
                gradient,
            ),
            info,
        )
