"""Gauss-Newton descent to the posterior mode: the paper's iterated ridge regression."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import plain_settings
from ..noise.keyed import Generator
from .acceptance import choose, is_finite
from .base import Info, check_settings, full_step_size
from .riemannian import MetricPotential, natural_gradient


class GaussNewtonState(NamedTuple):
    """Position with its energy and gradient, and the share of a full step to try next."""

    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]


@dataclass(frozen=True)
class GaussNewton:
    """Descend by ``z' = z - s G⁻¹∇E(z)``, G the prior's curvature plus ``JᵀFJ``: not a sampler.

    A rectified network is linear on the piece that z lies in, ``f(z) = W_δ z + b_δ``, and there a
    full step (s = 1) with Gaussian noise is the ridge regression of the data on W_δ; from piece to
    piece these are the paper's iterated ridge regressions. A move that would raise the energy is
    not made and halves the example's s, one that lowers it doubles s, up to the given one. Its
    sampler is :class:`RiemannianMALA`.

    Parameters
    ----------
    step_size : float, default 1
        Largest share of a full step, in (0, 1].

    Raises
    ------
    ValueError
        If ``step_size`` is not in (0, 1].

    References
    ----------
    Han et al. (2017), "Piecewise linear factor analysis", on the ridge regression of a piece.
    """

    step_size: float = 1.0

    state_type: ClassVar = GaussNewtonState
    tuned: ClassVar = ("step_size",)

    def __post_init__(self) -> None:
        plain_settings(self)
        check_settings(self.step_size, self.target_acceptance, largest=1.0)

    @property
    def target_acceptance(self) -> float:
        """Not used: the step size follows the energy."""
        return 0.5

    def init(self, position: Tensor, potential: MetricPotential) -> GaussNewtonState:
        """Return the state at a position."""
        energy, gradient = potential(position)
        return GaussNewtonState(
            position, energy, gradient, full_step_size(self.step_size, position)
        )

    def step(
        self, state: GaussNewtonState, potential: MetricPotential, generator: Generator
    ) -> tuple[GaussNewtonState, Info]:
        """Return the next state, where no energy is higher, and what happened."""
        position, energy, gradient, step_size = state
        _, natural = natural_gradient(potential.metric(position), gradient)
        # Where the metric is singular, along the gradient itself.
        direction = torch.where(natural.isfinite(), natural, gradient)
        proposal = position - step_size[:, None] * direction
        new_energy, new_gradient = potential(proposal)
        error = new_energy - energy
        finite = is_finite(new_energy, new_gradient)
        lowered = finite & (error <= 0)
        chosen_energy = choose(lowered, new_energy, energy)
        info = Info(
            acceptance_rate=lowered.to(energy.dtype),
            accepted=lowered,
            diverging=~finite,
            energy_error=error,
            potential_energy=chosen_energy,
            num_gradients=1 + position.shape[1],
        )
        return (
            GaussNewtonState(
                choose(lowered, proposal, position),
                chosen_energy,
                choose(lowered, new_gradient, gradient),
                torch.where(lowered, (2 * step_size).clamp(max=self.step_size), step_size / 2),
            ),
            info,
        )
