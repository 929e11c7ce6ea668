"""Hamiltonian Monte Carlo."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .integrators import Phase, leapfrog
from .kernel import (
    EnergyAndGradient,
    Info,
    StepSize,
    check_settings,
    check_start,
    full_step_size,
    metropolis,
)
from .mass import Mass, check_mass, unit_scale
from .noise import Generator, standard_normal, uniform


class HMCState(NamedTuple):
    """Position with its energy and gradient, and each chain's step size and scale."""

    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]
    scale: Tensor


@dataclass(frozen=True)
class HMC:
    """Hamiltonian Monte Carlo with a fixed number of leapfrog steps.

    Parameters
    ----------
    num_leapfrog : int, default 10
        Leapfrog steps, and gradients, of each proposal.
    step_size : float or "auto", default "auto"
        Of the leapfrog integrator; ``"auto"`` adapts one for each example.
    jitter : float, default 0.3
        Each chain draws its step size anew from ``step_size * [1 - jitter, 1 + jitter]`` at every
        proposal. Without it a trajectory can be periodic: the chain then returns to where it was,
        or to its mirror image, and looks converged (Neal 2011, section 3.2).
    target_acceptance : float, default 0.8
        What ``"auto"`` aims at.
    mass : "identity", "diagonal" or "dense", default "diagonal"
        What warmup adapts to the posterior of each example; with a fixed ``step_size`` nothing is
        adapted and the mass is the identity.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    References
    ----------
    Duane, Kennedy, Pendleton & Roweth, "Hybrid Monte Carlo" (1987); Neal, "MCMC using Hamiltonian
    dynamics" (2011).
    """

    num_leapfrog: int = 10
    step_size: StepSize = "auto"
    jitter: float = 0.3
    target_acceptance: float = 0.8
    mass: Mass = "diagonal"

    def __post_init__(self) -> None:
        check_settings(self.step_size, self.target_acceptance)
        check_mass(self.mass)
        if not isinstance(self.num_leapfrog, int) or self.num_leapfrog < 1:
            raise ValueError(f"num_leapfrog must be a positive integer, got {self.num_leapfrog!r}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must lie in [0, 1), got {self.jitter!r}")

    def init(self, position: Tensor, potential: EnergyAndGradient) -> HMCState:
        """Return the state at a position."""
        energy, gradient = potential(position)
        check_start(energy, gradient)
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
        jittered = step_size
        if self.jitter > 0:
            jittered = step_size * (1 + self.jitter * (2 * uniform(generator, energy) - 1))
        start = Phase(position, momentum, energy, gradient)
        end = leapfrog(start, jittered, self.num_leapfrog, potential, scale)
        error = end.energy - energy + 0.5 * ((end.momentum**2).sum(1) - (momentum**2).sum(1))
        info = metropolis(energy, error, accept_below, num_gradients=self.num_leapfrog)
        accepted = info.accepted[:, None]
        chosen_energy = torch.where(info.accepted, end.energy, energy)
        return (
            HMCState(
                torch.where(accepted, end.position, position),
                chosen_energy,
                torch.where(accepted, end.gradient, gradient),
                step_size,
                scale,
            ),
            info._replace(potential_energy=chosen_energy),
        )
