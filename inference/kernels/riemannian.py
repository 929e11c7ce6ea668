"""Metropolis-adjusted Langevin in the geometry of the Gauss-Newton metric."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import plain_settings
from ..noise.keyed import Generator, standard_normal, uniform
from .acceptance import choose, metropolis
from .base import Info, StepSize, check_settings, full_step_size
from .scale import scaled, scaled_back


class MetricPotential(Protocol):
    """An energy with a metric: a :class:`Potential`."""

    def __call__(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (n,) and gradients (n, d)."""

    def metric(self, position: Tensor) -> Tensor:
        """Return positive definite matrices (n, d, d)."""


class RiemannianMALAState(NamedTuple):
    """Position with its energy and step size, the metric's Cholesky factor there, and G⁻¹∇E."""

    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    step_size: Float[Tensor, " n"]
    factor: Float[Tensor, "n d d"]
    natural_gradient: Float[Tensor, "n d"]

    @property
    def gradient(self) -> Float[Tensor, "n d"]:
        """∇E; NaN where the metric is not positive definite."""
        return scaled(self.factor, scaled_back(self.factor, self.natural_gradient))


@dataclass(frozen=True)
class RiemannianMALA:
    """Langevin proposals preconditioned by the metric where the chain stands.

    ``z' = z - (1 - √(1 - s²)) G⁻¹∇E(z) + s G^(-1/2) ξ``, G(z) the prior's curvature plus ``JᵀFJ``
    (for Gaussian noise ``I + JᵀJ/σ²``), accepted or rejected. For small s this is the simplified
    manifold MALA; at s = 1 it draws from the normal around one Gauss-Newton step, the sampler that
    belongs to :class:`GaussNewton`. On a linear-Gaussian model every s leaves the posterior
    invariant without a rejection, and s = 1 draws independently: the semi-implicit drift is exact
    there, where an explicit one is not.

    Each step costs a gradient and a metric, which takes d backward passes: it pays for few latents
    and stiff posteriors.

    Parameters
    ----------
    step_size : float or "auto", default "auto"
        s, at most 1.
    target_acceptance : float, default 0.7
        What ``"auto"`` aims at.

    Raises
    ------
    ValueError
        If ``step_size`` is not in (0, 1] or ``target_acceptance`` not in (0, 1).

    References
    ----------
    Girolami & Calderhead, "Riemann manifold Langevin and Hamiltonian Monte Carlo" (2011), the
    simplified manifold MALA of section 5; Cotter, Roberts, Stuart & White, "MCMC methods for
    functions" (2013), for the semi-implicit proposal.
    """

    step_size: StepSize = "auto"
    target_acceptance: float = 0.7

    state_type: ClassVar = RiemannianMALAState
    tuned: ClassVar = ("step_size",)
    max_step_size: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        plain_settings(self)
        check_settings(self.step_size, self.target_acceptance, self.max_step_size)

    def init(self, position: Tensor, potential: MetricPotential) -> RiemannianMALAState:
        """Return the state at a position."""
        energy, gradient = potential(position)
        factor, natural = natural_gradient(potential.metric(position), gradient)
        return RiemannianMALAState(
            position, energy, full_step_size(self.step_size, position), factor, natural
        )

    def step(
        self, state: RiemannianMALAState, potential: MetricPotential, generator: Generator
    ) -> tuple[RiemannianMALAState, Info]:
        """Return the next state and what happened."""
        position, energy, step_size, factor, natural = state
        s = step_size.clamp(max=self.max_step_size)[:, None]
        drift = 1 - (1 - s**2).sqrt()
        noise = standard_normal(generator, position)
        proposal = position - drift * natural + s * _solve(factor.mT, noise, upper=True)
        new_energy, new_gradient = potential(proposal)
        new_factor, new_natural = natural_gradient(potential.metric(proposal), new_gradient)
        # The noise that would bring the proposal back.
        back = (position - proposal + drift * new_natural) / s
        noise_back = scaled_back(new_factor, back)
        error = (
            new_energy
            - energy
            + 0.5 * ((noise_back**2).sum(1) - (noise**2).sum(1))
            + _half_log_det(factor)
            - _half_log_det(new_factor)
        )
        gradients = 1 + position.shape[1]
        info = metropolis(energy, error, uniform(generator, energy), num_gradients=gradients)
        chosen_energy = choose(info.accepted, new_energy, energy)
        return (
            RiemannianMALAState(
                choose(info.accepted, proposal, position),
                chosen_energy,
                step_size,
                choose(info.accepted, new_factor, factor),
                choose(info.accepted, new_natural, natural),
            ),
            info._replace(potential_energy=chosen_energy),
        )


def natural_gradient(
    metric: Float[Tensor, "n d d"], gradient: Float[Tensor, "n d"]
) -> tuple[Tensor, Tensor]:
    """Return the metric's Cholesky factor and G⁻¹∇E; NaN where it is not positive definite."""
    usable = metric.isfinite().flatten(1).all(1)
    identity = torch.eye(metric.shape[1], dtype=metric.dtype, device=metric.device)
    factor, failed = torch.linalg.cholesky_ex(torch.where(usable[:, None, None], metric, identity))
    usable = usable & (failed == 0)
    natural = _solve(factor.mT, _solve(factor, gradient, upper=False), upper=True)
    return factor, torch.where(usable[:, None], natural, torch.nan)


def _solve(factor: Tensor, vector: Float[Tensor, "n d"], upper: bool) -> Float[Tensor, "n d"]:
    solved: Tensor = torch.linalg.solve_triangular(factor, vector[:, :, None], upper=upper)
    return solved[:, :, 0]


def _half_log_det(factor: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    return factor.diagonal(dim1=1, dim2=2).log().sum(1)
