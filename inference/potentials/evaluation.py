"""What is to be evaluated, and who does it.

A potential says what its energy is; an :class:`Evaluator` evaluates it. :class:`PlainEvaluator`
runs the model through Pyro every time, and everything works with it. ``inference/speed`` has one
that is faster and must give the same numbers.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from .data import ExampleData

Tame = Callable[[Sequence[Tensor]], Sequence[Tensor]]

SHARES = (1, 1 / 2, 1 / 4)
"""Shares of its rows that a batch may shrink to. Twenty sizes save 8 % of the gradients, and each
is captured by itself; without graphs they are the same, and so are the draws, to the last bit."""


class Task(NamedTuple):
    """Something to compute from a potential and some tensors.

    Attributes
    ----------
    name : hashable
        Two tasks of one name compute the same function.
    function : callable
        ``function(potential, *varying)``, a tuple of detached tensors.
    value : callable, optional
        The function's first outputs without what takes derivatives: with them a kept result is
        checked. By default the function itself.
    num_steps : int, default 0
        Steps of a kernel that it makes, in which case its first argument is the position; none
        where it evaluates the model alone.
    tame : callable, optional
        From the arguments to others at which rounding does not grow: chains that differ by rounding
        part, so two ways to make steps are compared there.
    """

    name: Hashable
    function: Callable[..., tuple[Tensor, ...]]
    value: Callable[..., tuple[Tensor, ...]] | None = None
    num_steps: int = 0
    tame: Tame | None = None


class Evaluator(Protocol):
    """Evaluates tasks of one model's potentials."""

    @property
    def compiles(self) -> bool:
        """Whether steps of a kernel are compiled as one, with their noise and adaptation."""

    @property
    def shares(self) -> Sequence[float]:
        """Shares of its rows that a batch may shrink to; the fewer, the more each size costs."""

    def __call__(self, task: Task, potential: Any, *varying: Tensor) -> tuple[Tensor, ...]:
        """Return ``task.function(potential, *varying)``."""

    def fuses(self, task: Task) -> bool:
        """Return whether a task that makes steps is compiled as one, or still may be."""

    def kept(
        self, data: ExampleData, place: str, key: Hashable, make: Callable[[], ExampleData]
    ) -> ExampleData:
        """Return what is made of data, or what was made of it at that place by the same key."""

    def compile(self, compiles: bool) -> None:
        """Compile from now on, or do not."""

    def expect(self, num_evaluations: Mapping[str, int]) -> None:
        """Say how many evaluations will come, by the kind of task."""

    def look(self) -> None:
        """Check at the next use what is kept, if somebody else had the model in hands."""

    def doubt(self) -> None:
        """Check what is kept at its next use: somebody may have changed the model."""


class PlainEvaluator:
    """Runs the model every time and keeps nothing."""

    compiles = False
    shares = SHARES

    def __call__(self, task: Task, potential: Any, *varying: Tensor) -> tuple[Tensor, ...]:
        """Return ``task.function(potential, *varying)``."""
        return task.function(potential, *varying)

    def fuses(self, task: Task) -> bool:
        """Return False."""
        return False

    def kept(
        self, data: ExampleData, place: str, key: Hashable, make: Callable[[], ExampleData]
    ) -> ExampleData:
        """Make it."""
        return make()

    def compile(self, compiles: bool) -> None:
        """Do nothing: the model itself is run."""

    def expect(self, num_evaluations: Mapping[str, int]) -> None:
        """Do nothing."""

    def look(self) -> None:
        """Do nothing."""

    def doubt(self) -> None:
        """Do nothing."""


PLAIN = PlainEvaluator()
