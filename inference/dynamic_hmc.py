"""Hamiltonian Monte Carlo whose trajectories have a length of their own for each example."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .integrators import Phase, leapfrog_each
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

FIRST_PATH_LENGTH = 1.5
"""A quarter of a period of a unit normal is π/2: a draw that forgets where it came from."""


class DynamicHMCState(NamedTuple):
    """Position with its energy and gradient, what warmup adapts, and the last trajectory.

    ``trajectory`` counts them; ``previous``, ``proposal`` and ``last_momentum`` are the last one's
    start, its end and the whitened momentum there, and ``share`` its length over the path length:
    what the adaptation of the path length looks at.
    """

    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]
    scale: Tensor
    path_length: Float[Tensor, " n"]
    trajectory: Int64[Tensor, " n"]
    previous: Float[Tensor, "n d"]
    proposal: Float[Tensor, "n d"]
    last_momentum: Float[Tensor, "n d"]
    share: Float[Tensor, " n"]


@dataclass(frozen=True)
class DynamicHMC:
    """Hamiltonian Monte Carlo that follows each trajectory for a path length, not a step count.

    A trajectory has length u T and ``ceil(u T / s)`` leapfrog steps: T is its example's path
    length, s the largest step size and u in (0, 2) is of the van der Corput sequence, which all
    chains share so that they arrive together. ``"auto"`` learns T in warmup, one for each example
    from its pooled chains, by ascending the expected square of the change of the squared distance
    from the mean (ChEES). All rows run until the longest trajectory is done.

    Parameters
    ----------
    path_length : float or "auto", default "auto"
        Mean length T of a trajectory in whitened coordinates, in which the posterior has about unit
        scale: about 1.5 suits a normal one.
    max_leapfrog : int, default 64
        Most leapfrog steps of a trajectory.
    jitter : float, default 0.1
        As of :class:`HMC`.
    step_size : float or "auto", default "auto"
        Of the leapfrog integrator; ``"auto"`` adapts one for each example.
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
    Hoffman, Radul & Sountsov, "An Adaptive-MCMC Scheme for Setting Trajectory Lengths in
    Hamiltonian Monte Carlo" (2021).
    """

    path_length: float | Literal["auto"] = "auto"
    max_leapfrog: int = 64
    jitter: float = 0.1
    step_size: StepSize = "auto"
    target_acceptance: float = 0.8
    mass: Mass = "diagonal"

    def __post_init__(self) -> None:
        check_settings(self.step_size, self.target_acceptance)
        check_mass(self.mass)
        if not isinstance(self.max_leapfrog, int) or self.max_leapfrog < 1:
            raise ValueError(f"max_leapfrog must be a positive integer, got {self.max_leapfrog!r}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must lie in [0, 1), got {self.jitter!r}")
        if self.path_length != "auto" and not 0 < self.path_length < float("inf"):
            raise ValueError(
                f'path_length must be a positive number or "auto", got {self.path_length!r}'
            )

    def init(self, position: Tensor, potential: EnergyAndGradient) -> DynamicHMCState:
        """Return the state at a position."""
        energy, gradient = potential(position)
        check_start(energy, gradient)
        length = FIRST_PATH_LENGTH if self.path_length == "auto" else self.path_length
        return DynamicHMCState(
            position,
            energy,
            gradient,
            full_step_size(self.step_size, position),
            unit_scale(position),
            torch.full_like(energy, length),
            torch.zeros_like(energy, dtype=torch.int64),
            position,
            position,
            torch.zeros_like(position),
            torch.zeros_like(energy),
        )

    def step(
        self, state: DynamicHMCState, potential: EnergyAndGradient, generator: Generator
    ) -> tuple[DynamicHMCState, Info]:
        """Return the next state and what happened."""
        position, energy, gradient = state.position, state.energy, state.gradient
        momentum = standard_normal(generator, position)
        accept_below = uniform(generator, energy)
        share = 2 * _van_der_corput(state.trajectory, energy.dtype)
        length = share * state.path_length
        num_steps = (length / state.step_size).ceil().clamp(1, self.max_leapfrog)
        # No larger than the adapted step size, and such that the last one ends at the length.
        step_size = torch.minimum(length / num_steps, state.step_size)
        jittered = step_size * (1 + self.jitter * (2 * uniform(generator, energy) - 1))
        start = Phase(position, momentum, energy, gradient)
        end, num_gradients = leapfrog_each(
            start, jittered, num_steps.long(), potential, state.scale
        )
        error = end.energy - energy + 0.5 * ((end.momentum**2).sum(1) - (momentum**2).sum(1))
        info = metropolis(energy, error, accept_below, num_gradients)
        accepted = info.accepted[:, None]
        chosen_energy = torch.where(info.accepted, end.energy, energy)
        return (
            state._replace(
                position=torch.where(accepted, end.position, position),
                energy=chosen_energy,
                gradient=torch.where(accepted, end.gradient, gradient),
                trajectory=state.trajectory + 1,
                previous=position,
                proposal=end.position,
                last_momentum=end.momentum,
                share=share,
            ),
            info._replace(potential_energy=chosen_energy),
        )


def _van_der_corput(count: Int64[Tensor, " n"], dtype: torch.dtype) -> Float[Tensor, " n"]:
    """Return the sequence 1/2, 1/4, 3/4, 1/8, ... at each count: its bits, mirrored."""
    remaining, value, weight = count + 1, torch.zeros_like(count, dtype=dtype), 0.5
    for _ in range(20):
        value = value + weight * (remaining % 2)
        remaining, weight = remaining // 2, weight / 2
    return value
