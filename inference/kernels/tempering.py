"""Parallel tempering: hot copies of each chain cross between modes and hand their finds down."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..arguments import checked_integer, plain_settings
from ..noise.keyed import Generator, standard_normal, uniform
from ..potentials.potential import Parts
from .acceptance import choose, metropolis
from .base import Adapted, Info, StepSize, full_step_size
from .hmc import HMC, HMCState
from .integrators import Phase, leapfrog
from .scale import Mass


class TemperablePotential(Protocol):
    """An energy whose prior and likelihood are known apart: a :class:`Potential`."""

    def parts(self, position: Tensor) -> Parts:
        """Return both energies with their gradients."""

    def repeated(self, times: int) -> "TemperablePotential":
        """Return the potential of all examples, ``times`` times over."""


class ParallelTemperingState(NamedTuple):
    """The cold chain's position and step size, and all K replicas, the cold one first.

    Attributes
    ----------
    position : Tensor, (n, d)
        Of the replica at β = 1.
    step_size : Tensor, (n,)
        Of that replica.
    replica_position, prior_gradient, likelihood_gradient : Tensor, (n, K, d)
        Where the replicas are, and the gradients of -log p(z) and of -log p(y | z) there.
    prior_energy, likelihood_energy : Tensor, (n, K)
        -log p(z) and -log p(y | z), nats.
    beta : Tensor, (n, K)
        The ladder, from 1 down to 0.
    replica_step_size : Tensor, (n, K)
        Of each replica.
    replica_scale : Tensor, (n, K, 1), (n, K, d) or (n, K, d, d)
        Of each replica.
    sweep : int64 Tensor, (n,)
        Steps made; its parity says which neighbours swap.
    acceptance_rate : Tensor, (n, K)
        Of the replicas' last moves.
    swap_rate : Tensor, (n, K - 1)
        Probability of the last swap between neighbours, NaN where none was tried.
    """

    position: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]
    replica_position: Float[Tensor, "n K d"]
    prior_energy: Float[Tensor, "n K"]
    prior_gradient: Float[Tensor, "n K d"]
    likelihood_energy: Float[Tensor, "n K"]
    likelihood_gradient: Float[Tensor, "n K d"]
    beta: Float[Tensor, "n K"]
    replica_step_size: Float[Tensor, "n K"]
    replica_scale: Tensor
    sweep: Int64[Tensor, " n"]
    acceptance_rate: Float[Tensor, "n K"]
    swap_rate: Float[Tensor, "n pairs"]

    @property
    def energy(self) -> Float[Tensor, " n"]:
        """Of the cold replica, nats."""
        return self.prior_energy[:, 0] + self.likelihood_energy[:, 0]

    @property
    def gradient(self) -> Float[Tensor, "n d"]:
        """Of that energy."""
        return self.prior_gradient[:, 0] + self.likelihood_gradient[:, 0]


@dataclass(frozen=True)
class ParallelTempering:
    """HMC at a ladder of temperatures, where neighbours swap.

    Replica k samples ``p(z) p(y | z)^β_k``, from β = 1, the posterior, to β = 0, the prior. After
    each move the pairs (0, 1), (2, 3), ... or, at every other step, (1, 2), (3, 4), ... swap
    positions with probability ``min(1, exp((β_i - β_j)(E_i - E_j)))``, E = -log p(y | z). Warmup
    adapts each replica's step size and mass, and moves the ladder until all neighbours swap
    equally often. For posteriors with several modes, at K times the cost of HMC.

    Parameters
    ----------
    num_replicas : int, default 8
        K, at least 2.
    num_leapfrog, step_size, jitter, target_acceptance, mass
        As of :class:`HMC`, for every replica.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    References
    ----------
    Geyer, "Markov chain Monte Carlo maximum likelihood" (1991); Syed, Bouchard-Côté, Deligiannidis
    & Doucet, "Non-reversible parallel tempering: a scalable highly parallel MCMC scheme" (2022),
    for the order of the swaps (algorithm 1) and the ladder (algorithm 2).
    """

    num_replicas: int = 8
    num_leapfrog: int = 10
    step_size: StepSize = "auto"
    jitter: float = 0.3
    target_acceptance: float = 0.8
    mass: Mass = "auto"

    state_type: ClassVar = ParallelTemperingState
    tuned: ClassVar = ("step_size", "replica_step_size", "replica_scale", "beta")

    def __post_init__(self) -> None:
        plain_settings(self)
        # Making it checks the settings that it shares.
        self.replica_kernel  # noqa: B018
        checked_integer("num_replicas", self.num_replicas, 2)

    @property
    def replica_kernel(self) -> HMC:
        """What moves each replica."""
        return HMC(
            self.num_leapfrog,
            step_size=self.step_size,
            jitter=self.jitter,
            target_acceptance=self.target_acceptance,
            mass=self.mass,
        )

    @property
    def gradients_per_step(self) -> int:
        """Leapfrog steps: the replicas make them in one batch."""
        return self.num_leapfrog

    def init(self, position: Tensor, potential: TemperablePotential) -> ParallelTemperingState:
        """Return the state with every replica at the position."""
        (n, d), replicas = position.shape, self.num_replicas
        parts = potential.parts(position)
        copies = [part[:, None].expand(n, replicas, *part.shape[1:]).clone() for part in parts]
        step_size = full_step_size(self.step_size, position)
        # A geometric ladder down to e^-5 and then the prior; warmup spaces it evenly.
        beta = torch.linspace(0.0, -5.0, replicas).exp().to(position)
        beta[-1] = 0.0
        ones = position.new_ones(n, replicas)
        return ParallelTemperingState(
            position,
            step_size,
            position[:, None].expand(n, replicas, d).clone(),
            copies[0],
            copies[1],
            copies[2],
            copies[3],
            beta.expand(n, replicas).clone(),
            step_size[:, None] * ones,
            ones[:, :, None].clone(),
            torch.zeros(n, dtype=torch.int64, device=position.device),
            torch.full_like(ones, torch.nan),
            torch.full_like(ones[:, 1:], torch.nan),
        )

    def step(
        self, state: ParallelTemperingState, potential: TemperablePotential, generator: Generator
    ) -> tuple[ParallelTemperingState, Info]:
        """Return the next state and what happened to the cold replica."""
        moved, info = self._move(state, potential, generator)
        swapped = swap_neighbours(moved, generator)
        return swapped._replace(
            position=swapped.replica_position[:, 0], step_size=swapped.replica_step_size[:, 0]
        ), info._replace(potential_energy=(swapped.prior_energy + swapped.likelihood_energy)[:, 0])

    def adapted(self, state: ParallelTemperingState) -> Adapted:
        """Return what warmup adapts: each replica as if it were an example, (n K) rows."""
        parts = _parts(state)
        rows = HMCState(
            state.replica_position.flatten(0, 1),
            parts.energy(state.beta).flatten(),
            parts.gradient(state.beta).flatten(0, 1),
            state.replica_step_size.flatten(),
            state.replica_scale.flatten(0, 1),
        )
        return Adapted(self.replica_kernel, rows, state.acceptance_rate.flatten())

    def with_adapted(self, state: ParallelTemperingState, rows: HMCState) -> ParallelTemperingState:
        """Return the state with what has been adapted in the rows put in place."""
        scale = rows.scale.reshape(*state.beta.shape, *rows.scale.shape[1:])
        step_size = rows.step_size.reshape(state.beta.shape)
        return state._replace(
            replica_step_size=step_size, step_size=step_size[:, 0], replica_scale=scale
        )

    def _move(
        self, state: ParallelTemperingState, potential: TemperablePotential, generator: Generator
    ) -> tuple[ParallelTemperingState, Info]:
        n, replicas, d = state.replica_position.shape
        tempered = _Tempered(potential.repeated(replicas), state.beta)
        momentum = standard_normal(generator, state.replica_position.flatten(1))
        accept_below = uniform(generator, state.beta)
        wiggle = 1 + self.jitter * (2 * uniform(generator, state.beta) - 1)
        parts = _parts(state)
        energy = parts.energy(state.beta)
        start = Phase(
            _by_replica(state.replica_position),
            _by_replica(momentum.reshape(n, replicas, d)),
            _by_replica(energy),
            _by_replica(parts.gradient(state.beta)),
        )
        end = leapfrog(
            start,
            _by_replica(state.replica_step_size * wiggle),
            self.num_leapfrog,
            tempered,
            _by_replica(state.replica_scale),
        )
        kinetic = 0.5 * ((end.momentum**2).sum(1) - (start.momentum**2).sum(1))
        info = metropolis(
            start.energy,
            end.energy - start.energy + kinetic,
            _by_replica(accept_below),
            num_gradients=self.num_leapfrog * replicas,
        )
        accepted = _by_example(info.accepted, replicas)
        new = [
            choose(accepted, _by_example(proposed, replicas), part)
            for part, proposed in zip(
                (state.replica_position, *parts), (end.position, *tempered.parts), strict=True
            )
        ]
        moved = state._replace(
            replica_position=new[0],
            prior_energy=new[1],
            prior_gradient=new[2],
            likelihood_energy=new[3],
            likelihood_gradient=new[4],
            acceptance_rate=_by_example(info.acceptance_rate, replicas),
            sweep=state.sweep + 1,
        )
        return moved, info._replace(
            acceptance_rate=info.acceptance_rate[:n],
            accepted=info.accepted[:n],
            diverging=info.diverging[:n],
            energy_error=info.energy_error[:n],
            potential_energy=info.potential_energy[:n],
        )


class _Tempered:
    """The replicas' energies at their β, rows by replica; ``parts`` are those of the last call."""

    def __init__(self, potential: TemperablePotential, beta: Float[Tensor, "n K"]) -> None:
        self._potential = potential
        self._beta = _by_replica(beta)
        self.parts: Parts

    def __call__(self, position: Tensor) -> tuple[Tensor, Tensor]:
        self.parts = self._potential.parts(position)
        return self.parts.energy(self._beta), self.parts.gradient(self._beta)


def swap_neighbours(state: ParallelTemperingState, generator: Generator) -> ParallelTemperingState:
    """Swap neighbours: even pairs at even sweeps, odd pairs at odd ones."""
    beta, energy = state.beta, state.likelihood_energy
    pairs = torch.arange(beta.shape[1] - 1, device=beta.device)
    tried = (pairs + state.sweep[:, None]) % 2 == 0
    log_ratio = (beta[:, :-1] - beta[:, 1:]) * (energy[:, :-1] - energy[:, 1:])
    rate = log_ratio.clamp(max=0.0).exp()
    swaps = tried & (uniform(generator, rate) < rate)
    below = torch.nn.functional.pad(swaps, (0, 1)).long()
    above = torch.nn.functional.pad(swaps, (1, 0)).long()
    source = torch.arange(beta.shape[1], device=beta.device) + below - above
    chosen = {
        name: _gathered(getattr(state, name), source)
        for name in (
            "replica_position",
            "prior_energy",
            "prior_gradient",
            "likelihood_energy",
            "likelihood_gradient",
        )
    }
    return state._replace(**chosen, swap_rate=torch.where(tried, rate, torch.nan))


def _gathered(value: Tensor, source: Int64[Tensor, "n K"]) -> Tensor:
    if value.dim() == 2:
        return value.gather(1, source)
    return value.gather(1, source[:, :, None].expand_as(value))


def _parts(state: ParallelTemperingState) -> Parts:
    return Parts(
        state.prior_energy,
        state.prior_gradient,
        state.likelihood_energy,
        state.likelihood_gradient,
    )


def _by_replica(value: Tensor) -> Tensor:
    """From (n, K, ...) to rows, all examples of the first replica first."""
    return value.transpose(0, 1).flatten(0, 1)


def _by_example(value: Tensor, replicas: int) -> Tensor:
    """From rows by replica to (n, K, ...)."""
    return value.reshape(replicas, -1, *value.shape[1:]).transpose(0, 1)
