"""The Langevin dynamics of the paper, without a correction."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import plain_settings
from ..noise.keyed import Generator, standard_normal
from .acceptance import undo_divergence
from .base import EnergyAndGradient, Info, StepSize, check_settings, full_step_size


class LangevinState(NamedTuple):
    """Position and step size, and the last move: where from, with which gradient and noise.

    The energy before the last move is NaN where there has been none.
    """

    position: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]
    last_position: Float[Tensor, "n d"]
    last_energy: Float[Tensor, " n"]
    last_gradient: Float[Tensor, "n d"]
    last_noise: Float[Tensor, "n d"]


@dataclass(frozen=True)
class Langevin:
    """Unadjusted Langevin dynamics, ``z' = z - s²/2 ∇E(z) + s ξ`` with ξ standard normal.

    Its stationary distribution is the posterior only as s goes to 0: on N(0, v) its variance is
    ``v / (1 - s²/(4 v))``. Each step reports the Metropolis ratio of the move *before* it, which
    costs no further gradient; it is not applied, but ``step_size="auto"`` adapts to it, and a move
    that it shows to have diverged (an error of over 1000 nats) is undone.

    Parameters
    ----------
    step_size : float or "auto", default "auto"
        s of the paper.
    target_acceptance : float, default 0.9
        What ``"auto"`` aims at. Nothing corrects a bad move here, so it is higher than MALA's.

    Raises
    ------
    ValueError
        If ``step_size`` is not positive or ``target_acceptance`` not in (0, 1).

    References
    ----------
    Han et al. (2017), eq. 5.
    """

    step_size: StepSize = "auto"
    target_acceptance: float = 0.9

    state_type: ClassVar = LangevinState
    tuned: ClassVar = ("step_size",)

    def __post_init__(self) -> None:
        plain_settings(self)
        check_settings(self.step_size, self.target_acceptance)

    def init(self, position: Tensor, potential: EnergyAndGradient) -> LangevinState:
        """Return the state at a position; evaluates nothing."""
        zeros = torch.zeros_like(position)
        return LangevinState(
            position,
            full_step_size(self.step_size, position),
            position,
            torch.full_like(position[:, 0], torch.nan),
            zeros,
            zeros,
        )

    def step(
        self, state: LangevinState, potential: EnergyAndGradient, generator: Generator
    ) -> tuple[LangevinState, Info]:
        """Return the next state and what happened; a divergent move is undone."""
        s = state.step_size[:, None]
        energy, gradient = potential(state.position)
        # The noise of the move back is w/2 - ξ with w = s (∇E + ∇E'). Folded for rounding, as in
        # MALA: (|w/2 - ξ|² - |ξ|²) / 2 = -w'(ξ - w/4) / 2.
        both = s * (state.last_gradient + gradient)
        product = (both * torch.sub(state.last_noise, both, alpha=0.25)).sum(1)
        energy_error = torch.sub(energy - state.last_energy, product, alpha=0.5)
        # In the product a gradient that is not finite shows too.
        finite = (energy + product).abs() < torch.inf
        diverged, position, energy, gradient, error = undo_divergence(
            state, energy, gradient, energy_error, finite
        )
        noise = standard_normal(generator, position)
        info = Info(
            acceptance_rate=error.clamp(min=0.0).neg().exp(),
            accepted=~diverged,
            diverging=diverged,
            energy_error=energy_error,
            potential_energy=energy,
            num_gradients=1,
        )
        return (
            LangevinState(
                torch.addcmul(position, s, torch.sub(noise, s * gradient, alpha=0.5)),
                state.step_size,
                position,
                energy,
                gradient,
                noise,
            ),
            info,
        )
