"""What a kernel is, and what its steps report."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..noise.keyed import Generator

StepSize = float | Literal["auto"]
EnergyAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From positions (n, d) to energies (n,) and their gradients (n, d): a :class:`Potential`."""

FIRST_STEP_SIZE = 0.1
"""Where the adaptation of an ``"auto"`` step size starts."""

DIVERGENCE_THRESHOLD = 1000.0
"""Energy error, in nats, from which a proposal counts as divergent, as in Stan."""


class Info(NamedTuple):
    """What happened in one step.

    Attributes
    ----------
    acceptance_rate : Tensor, (n,)
        Probability with which the proposal was accepted; NaN where a kernel that does not adjust
        has not evaluated its last move yet.
    accepted : bool Tensor, (n,)
        Whether the chain moved.
    diverging : bool Tensor, (n,)
        Whether the proposal's energy was not finite or off by over 1000 nats.
    energy_error : Tensor, (n,)
        Minus the log of the Metropolis-Hastings ratio, in nats.
    potential_energy : Tensor, (n,)
        -log p(y, z) where the chain is after the step, in nats; before it for kernels that do not
        adjust, which evaluate nothing after their move.
    num_gradients : float
        Evaluations of the gradient for each row, their mean.
    """

    acceptance_rate: Float[Tensor, " n"]
    accepted: Bool[Tensor, " n"]
    diverging: Bool[Tensor, " n"]
    energy_error: Float[Tensor, " n"]
    potential_energy: Float[Tensor, " n"]
    num_gradients: float


class State(Protocol):
    """The part of a kernel's state that is common to all kernels; every field leads with n."""

    @property
    def position(self) -> Tensor:
        """Unconstrained latents (n, d)."""

    @property
    def step_size(self) -> Tensor:
        """Step size of each example (n,)."""

    def _replace(self, **fields: Any) -> Any: ...


S = TypeVar("S", bound=State)


class Kernel(Protocol[S]):
    """A Markov kernel on n independent chains: settings only, no state of its own.

    A new kernel is one new file; ``mala.py`` is the model to copy.
    """

    @property
    def step_size(self) -> StepSize:
        """A number, or ``"auto"``: adapted for each example."""

    @property
    def target_acceptance(self) -> float:
        """Acceptance rate that ``"auto"`` aims at."""

    def init(self, position: Tensor, potential: EnergyAndGradient) -> S:
        """Return the state at a position; once more after every change of the potential."""

    def step(self, state: S, potential: EnergyAndGradient, generator: Generator) -> tuple[S, Info]:
        """Return the next state and what happened."""


class NonFiniteStartError(ValueError):
    """A chain's energy or gradient is not finite where it starts.

    Attributes
    ----------
    rows : list of int
        Rows of the batch it happened in.
    """

    def __init__(self, message: str, rows: list[int]) -> None:
        super().__init__(message)
        self.rows = rows


_NOTED: ContextVar[list[Tensor] | None] = ContextVar("noted", default=None)


@contextmanager
def starts_checked_later() -> Iterator[list[Tensor]]:
    """Read no value in :func:`check_start`, so that a start can be part of a captured graph.

    Yields the list of what it notes: numbers that are not finite if something at a start is not.
    """
    noted: list[Tensor] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def check_start(energy: Tensor, gradient: Tensor) -> None:
    """Raise :class:`NonFiniteStartError` unless all energies and gradients are finite.

    Under :func:`starts_checked_later` it notes what tells so instead.
    """
    # One number tells in nearly all cases; a sum may overflow where nothing else has.
    total = energy.sum() + gradient.sum()
    noted = _NOTED.get()
    if noted is not None:
        noted.append(total)
        return
    if math.isfinite(float(total)):
        return
    finite = is_finite(energy, gradient)
    if not bool(finite.all()):
        rows = torch.nonzero(~finite)[:, 0].tolist()
        raise NonFiniteStartError(
            f"the energy or its gradient is not finite at the start of the chain in row {rows[0]} "
            f"({len(rows)} of {len(finite)} rows; energy {float(energy[rows[0]])})",
            rows,
        )


def check_settings(
    step_size: StepSize, target_acceptance: float, largest: float = float("inf")
) -> None:
    """Raise ValueError unless the settings that all kernels share make sense."""
    if step_size != "auto" and not (
        isinstance(step_size, int | float) and 0 < step_size < float("inf")
    ):
        raise ValueError(f'step_size must be a positive number or "auto", got {step_size!r}')
    if step_size != "auto" and step_size > largest:
        raise ValueError(f"step_size must be at most {largest:g}, got {step_size!r}")
    if not 0 < target_acceptance < 1:
        raise ValueError(f"target_acceptance must lie between 0 and 1, got {target_acceptance!r}")


TUNED = ("step_size", "scale", "replica_step_size", "replica_scale", "beta")
"""Fields of a state that warmup adapts; a kernel has those of them that it needs."""


def tuning_of(state: State) -> dict[str, Tensor]:
    """Return what warmup has adapted: with it ``_replace(**tuning)`` tunes another state."""
    return {name: getattr(state, name) for name in TUNED if hasattr(state, name)}


def largest_step_size(kernel: Kernel[Any]) -> float:
    """Return a kernel's ``max_step_size``, infinite where it has none."""
    largest: float = getattr(kernel, "max_step_size", float("inf"))
    return largest


def full_step_size(setting: StepSize, position: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Return each chain's step size before adaptation."""
    value = FIRST_STEP_SIZE if setting == "auto" else setting
    return torch.full_like(position[:, 0], value)


def choose(which: Bool[Tensor, "*rows"], new: Tensor, old: Tensor) -> Tensor:
    """Return ``new`` in the rows that ``which`` names, else ``old``; (*rows, ...) both."""
    return torch.where(which.reshape(*which.shape, *[1] * (new.dim() - which.dim())), new, old)


class Kept(NamedTuple):
    """Where a chain goes on from: its last move, or what was before it if that diverged."""

    kept: Bool[Tensor, " n"]
    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]


def undo_divergence(
    state: Any,
    energy: Float[Tensor, " n"],
    gradient: Float[Tensor, "n d"],
    energy_error: Float[Tensor, " n"],
) -> Kept:
    """Return where a kernel that does not adjust goes on from.

    Far out, where a diverged move ends, the dynamics is unstable and would not come back. ``state``
    holds the last move's start, ``last_position``, with its energy and gradient.
    """
    kept = is_finite(energy, gradient) & ~(energy_error > DIVERGENCE_THRESHOLD)
    return Kept(
        kept,
        choose(kept, state.position, state.last_position),
        choose(kept, energy, state.last_energy),
        choose(kept, gradient, state.last_gradient),
    )


def is_finite(energy: Float[Tensor, " n"], gradient: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
    """Return which rows have a finite energy and gradient."""
    return energy.isfinite() & gradient.isfinite().all(-1)


def metropolis(
    energy: Float[Tensor, " n"],
    energy_error: Float[Tensor, " n"],
    uniform: Float[Tensor, " n"],
    num_gradients: float,
) -> Info:
    """Accept with probability ``min(1, exp(-energy_error))``; never what is not finite.

    ``energy`` is the potential energy before the step; the kernel fills in what it becomes.
    """
    worst = float("inf")
    error = energy_error.nan_to_num(nan=worst, posinf=worst, neginf=worst)
    rate = error.clamp(min=0.0).neg().exp()
    return Info(
        acceptance_rate=rate,
        accepted=uniform < rate,
        diverging=error > DIVERGENCE_THRESHOLD,
        energy_error=energy_error,
        potential_energy=energy,
        num_gradients=num_gradients,
    )
