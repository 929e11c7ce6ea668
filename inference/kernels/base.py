"""What a kernel is: all that the library asks of one, and what its steps report.

A kernel is a :class:`Kernel` with a :class:`State`. It may have more, and then the library does
more with it; each such part is a protocol of its own here, and ``capabilities`` says what holds of
a kernel without it:

- a state with an energy and a gradient (:class:`Adjusted`) is looked at before the first step;
- a ``mass`` (:class:`HasMass`, with :class:`Preconditioned` states) is adapted;
- :class:`HasLargestStep` and :class:`HasCost` bound step sizes and compiled graphs;
- :class:`HasReplicas` and :class:`Tempered` states: replicas are adapted, and their ladder.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..noise.keyed import Generator
from ..potentials.potential import Potential
from .scale import Mass

StepSize = float | Literal["auto"]
EnergyAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From positions (n, d) to energies (n,) and their gradients (n, d): a :class:`Potential`."""

FIRST_STEP_SIZE = 0.1
"""Where the adaptation of an ``"auto"`` step size starts."""


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
    """What every state has: a NamedTuple of tensors that all lead with the row, n of them.

    Its first field is the position.
    """

    @property
    def position(self) -> Tensor:
        """Unconstrained latents (n, d)."""

    @property
    def step_size(self) -> Tensor:
        """Step size of each row (n,)."""

    def _replace(self, **fields: Any) -> Any: ...

    def _asdict(self) -> dict[str, Any]: ...


class Adjusted(State, Protocol):
    """A state that knows, as those of kernels that accept or reject do, where it stands.

    The library refuses a start where either is not finite, and lets the likelihood's weight rise in
    the first part of warmup.
    """

    @property
    def energy(self) -> Tensor:
        """-log p(y, z) at the position (n,)."""

    @property
    def gradient(self) -> Tensor:
        """Its gradient (n, d)."""


class Preconditioned(Adjusted, Protocol):
    """A state whose steps are taken in coordinates of its own, ``x = L⁻¹ z``."""

    @property
    def scale(self) -> Tensor:
        """L of the inverse mass ``L Lᵀ``: (n, 1), (n, d) or (n, d, d)."""


class Tempered(State, Protocol):
    """A state of several replicas, whose ladder of temperatures warmup spaces."""

    @property
    def beta(self) -> Tensor:
        """The ladder (n, K), from 1 down to 0."""

    @property
    def swap_rate(self) -> Tensor:
        """Probability of the last swap between neighbours (n, K - 1), NaN where not tried."""


S = TypeVar("S", bound=State)


class Kernel(Protocol[S]):
    """A Markov kernel on n independent chains: settings only, no state of its own.

    A new kernel is one new file; ``mala.py`` is the model to copy.
    """

    @property
    def state_type(self) -> type[S]:
        """The class of its states."""

    @property
    def tuned(self) -> tuple[str, ...]:
        """Fields of a state that warmup adapts, ``step_size`` among them; an init keeps none."""

    @property
    def step_size(self) -> StepSize:
        """A number, or ``"auto"``: adapted for each example."""

    @property
    def target_acceptance(self) -> float:
        """Acceptance rate that ``"auto"`` aims at."""

    def init(self, position: Tensor, potential: Potential) -> S:
        """Return the state at a position, finite or not; once more whenever the potential is new.

        A function of tensors, as :meth:`step` is: no value is read into Python.
        """

    def step(self, state: S, potential: Potential, generator: Generator) -> tuple[S, Info]:
        """Return the next state and what happened; all randomness is the generator's."""


@runtime_checkable
class HasMass(Protocol):
    """A kernel whose states are :class:`Preconditioned`, with ``"scale"`` among its ``tuned``."""

    @property
    def mass(self) -> Mass:
        """What is adapted."""


@runtime_checkable
class HasLargestStep(Protocol):
    """A kernel that takes no step larger than so much."""

    @property
    def max_step_size(self) -> float:
        """The largest step size."""


@runtime_checkable
class HasCost(Protocol):
    """A kernel whose steps evaluate the potential more than once."""

    @property
    def gradients_per_step(self) -> int:
        """Evaluations in every step, 1 where steps differ."""


class Adapted(NamedTuple):
    """What warmup adapts: a kernel and its state, row by row, with each row's acceptance rate."""

    kernel: Kernel[Any]
    state: Any
    acceptance_rate: Tensor


@runtime_checkable
class HasReplicas(Protocol):
    """A kernel that moves several replicas of a chain, each with a step size of its own."""

    def adapted(self, state: Any) -> Adapted:
        """Return the replicas as if each were an example: (n K) rows."""

    def with_adapted(self, state: Any, rows: Any) -> Any:
        """Return the state with what has been adapted in the rows put in place."""


def check_settings(
    step_size: StepSize, target_acceptance: float, largest: float = float("inf")
) -> None:
    """Raise ValueError unless the settings that all kernels share make sense."""
    number = isinstance(step_size, int | float) and not isinstance(step_size, bool)
    if step_size != "auto" and not (number and 0 < step_size < float("inf")):
        raise ValueError(f'step_size must be a positive number or "auto", got {step_size!r}')
    if step_size != "auto" and step_size > largest:
        raise ValueError(f"step_size must be at most {largest:g}, got {step_size!r}")
    if not 0 < target_acceptance < 1:
        raise ValueError(f"target_acceptance must lie between 0 and 1, got {target_acceptance!r}")


def full_step_size(setting: StepSize, position: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Return each chain's step size before adaptation."""
    value = FIRST_STEP_SIZE if setting == "auto" else setting
    return torch.full_like(position[:, 0], value)
