"""Hamiltonian Monte Carlo."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import check_positive, plain_settings
from ..noise.keyed import Generator, common_uniform, standard_normal, uniform
from .acceptance import choose, metropolis
from .base import EnergyAndGradient, Info, StepSize, check_settings, full_step_size
from .integrators import Phase, leapfrog
from .scale import Mass, check_mass, unit_scale
from .trajectories import leapfrog_each

PATH_LENGTH = 1.6
"""A little over π/2, a quarter of a unit normal's period: half-way, a draw forgets its start."""

FIXED_LENGTH_JITTER = 0.3
"""Jitter of trajectories that all have as many steps."""


class HMCState(NamedTuple):
    """Position with its energy and gradient, and each chain's step size and scale."""

    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]
    scale: Tensor


@dataclass(frozen=True)
class HMC:
    """Hamiltonian Monte Carlo, by default with trajectories of a given length.

    A trajectory of path length T takes ``ceil(u T / s)`` leapfrog steps, s the example's step size
    and u in (0, 2) from the van der Corput sequence, the same for all chains, so that they arrive
    at about the same time; those that have arrived leave the batch. Stiff posteriors with a small s
    so get the many steps that they need, and others do not. With ``num_leapfrog`` every trajectory
    has that many steps instead.

    Parameters
    ----------
    num_leapfrog : int, optional
        Leapfrog steps, and gradients, of each proposal.
    path_length : float, optional
        Mean length T of a trajectory, in coordinates in which warmup has given the posterior about
        unit scale; 1.6 unless ``num_leapfrog`` is given.
    max_leapfrog : int, default 32
        Most leapfrog steps that a path length may take.
    step_size : float or "auto", default "auto"
        Of the leapfrog integrator; ``"auto"`` adapts one for each example.
    jitter : float, optional
        Each chain draws its step size anew from ``step_size * [1 - jitter, 1 + jitter]`` at every
        proposal. Without it a fixed trajectory can be periodic: the chain then returns to where it
        was, or to its mirror image, and looks converged (Neal 2011, section 3.2). Unless given, it
        is 0.3 with ``num_leapfrog`` and where ``max_leapfrog`` cuts a trajectory, and otherwise 0,
        because lengths differ anyway.
    target_acceptance : float, default 0.8
        What ``"auto"`` aims at.
    mass : "auto", "identity", "diagonal" or "dense", default "auto"
        What warmup adapts to the posterior of each example: ``"auto"`` is dense up to 64 latents,
        else diagonal. With a fixed ``step_size`` nothing is adapted, the mass is the identity.

    Raises
    ------
    ValueError
        If a setting is out of its range, or both lengths are given.

    References
    ----------
    Duane, Kennedy, Pendleton & Roweth, "Hybrid Monte Carlo" (1987); Neal, "MCMC using Hamiltonian
    dynamics" (2011); Hoffman, Radul & Sountsov, "An Adaptive-MCMC Scheme for Setting Trajectory
    Lengths in Hamiltonian Monte Carlo" (2021), for lengths that all chains share.
    """

    num_leapfrog: int | None = None
    step_size: StepSize = "auto"
    jitter: float | None = None
    target_acceptance: float = 0.8
    mass: Mass = "auto"
    path_length: float | None = None
    max_leapfrog: int = 32

    state_type: ClassVar = HMCState
    tuned: ClassVar = ("step_size", "scale")

    def __post_init__(self) -> None:
        plain_settings(self)
        check_settings(self.step_size, self.target_acceptance)
        check_mass(self.mass)
        for name, value in (
            ("num_leapfrog", self.num_leapfrog),
            ("max_leapfrog", self.max_leapfrog),
        ):
            if value is not None:
                check_positive(name, value)
        if self.jitter is not None and not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must lie in [0, 1), got {self.jitter!r}")
        if self.path_length is not None:
            if self.num_leapfrog is not None:
                raise ValueError("give num_leapfrog or path_length, not both")
            if not 0 < self.path_length < float("inf"):
                raise ValueError(f"path_length must be positive, got {self.path_length!r}")

    @property
    def gradients_per_step(self) -> int:
        """Leapfrog steps where every trajectory has as many."""
        return self.num_leapfrog or 1

    def init(self, position: Tensor, potential: EnergyAndGradient) -> HMCState:
        """Return the state at a position."""
        energy, gradient = potential(position)
        return HMCState(
            position,
            energy,
            gradient,
            full_step_size(self.step_size, position),
            unit_scale(position),
        )

    def step(
        self, state: HMCState, potential: EnergyAndGradient, generator: Generator
    ) -> tuple[HMCState, Info]:
        """Return the next state and what happened."""
        position, energy, gradient, step_size, scale = state
        momentum = standard_normal(generator, position)
        accept_below = uniform(generator, energy)
        start = Phase(position, momentum, energy, gradient)
        follow = self._of_length if self.num_leapfrog is None else self._of_steps
        end, num_gradients = follow(start, step_size, scale, potential, generator)
        error = end.energy - energy + 0.5 * ((end.momentum**2).sum(1) - (momentum**2).sum(1))
        info = metropolis(energy, error, accept_below, num_gradients)
        chosen_energy = choose(info.accepted, end.energy, energy)
        return (
            HMCState(
                choose(info.accepted, end.position, position),
                chosen_energy,
                choose(info.accepted, end.gradient, gradient),
                step_size,
                scale,
            ),
            info._replace(potential_energy=chosen_energy),
        )

    def _of_steps(
        self,
        start: Phase,
        step_size: Float[Tensor, " n"],
        scale: Tensor,
        potential: EnergyAndGradient,
        generator: Generator,
    ) -> tuple[Phase, float]:
        """Follow ``num_leapfrog`` steps; return the end and the gradients of a row."""
        assert self.num_leapfrog is not None
        width = FIXED_LENGTH_JITTER if self.jitter is None else self.jitter
        if width:
            step_size = step_size * _wiggle(generator, torch.full_like(step_size, width))
        return leapfrog(start, step_size, self.num_leapfrog, potential, scale), self.num_leapfrog

    def _of_length(
        self,
        start: Phase,
        step_size: Float[Tensor, " n"],
        scale: Tensor,
        potential: EnergyAndGradient,
        generator: Generator,
    ) -> tuple[Phase, float]:
        """Follow a path of a length that all rows share; return the end and a row's gradients."""
        # A larger step size says that the scale is too small yet: then it leads.
        mean_length = step_size.clamp(min=self.path_length or PATH_LENGTH)
        length = 2 * common_uniform(generator, step_size) * mean_length
        wanted = (length / step_size).ceil()
        count = wanted.clamp(1, self.max_leapfrog)
        # At most the adapted step size, and such that the last one ends at the length.
        step = torch.minimum(length / count, step_size)
        if self.jitter is None:
            # Those that are cut all have as many steps.
            cut = wanted > self.max_leapfrog
            step = step * _wiggle(generator, FIXED_LENGTH_JITTER * cut.to(step))
        elif self.jitter > 0:
            step = step * _wiggle(generator, torch.full_like(step, self.jitter))
        # Smaller steps are never fewer: once they are adapted, the order stays the same.
        order = step_size.argsort(stable=True)
        return leapfrog_each(start, step, count.long(), potential, scale, order)


def _wiggle(generator: Generator, width: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return factors uniform in ``[1 - width, 1 + width]``."""
    return 1 + width * (2 * uniform(generator, width) - 1)
