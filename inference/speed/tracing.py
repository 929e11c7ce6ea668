"""Capturing a function as a graph that is right, or not at all."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from ..potentials.trace import seeded
from .agreement import OTHER_ARITHMETIC, ROUNDING, agree, mostly_agree
from .bound import Bound
from .choices import Choices
from .graph import Graph, capture

Function = Callable[..., tuple[Tensor, ...]]


class Captured(NamedTuple):
    """A graph, and to within what it gives the function's numbers.

    ``tolerance`` is None for rounding, or the relative difference that few rows may have.
    """

    graph: Graph
    tolerance: float | None

    def has_values(self, got: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
        """Return whether results are the function's, as far as this graph can give them.

        Of values, not of gradients: no row may be off.
        """
        return agree(got, expected, ROUNDING if self.tolerance is None else self.tolerance)


class NotCapturedError(Exception):
    """A function has no graph that gives its numbers; the message says why."""


def captured(
    function: Function,
    varying: Sequence[Tensor],
    given: Sequence[Tensor],
    choices: Choices,
    reorders: bool = True,
) -> Captured:
    """Return the graph of a function, checked where it was captured and somewhere else.

    No random number is used up, and no buffer of a module changes.

    Parameters
    ----------
    function : callable
        ``function(*varying, *given)``, detached tensors.
    varying, given : sequence of Tensor
        As of :func:`graph.capture`.
    choices : Choices
        What is the fastest here.
    reorders : bool, default True
        Whether what is given may be put in another order, to check the graph there: examples may,
        the rows of a matrix that all of them share may not.

    Raises
    ------
    NotCapturedError
        If there is none.
    """
    arguments = [*varying, *given]
    elsewhere = [0.75 * _flipped(t) if t.is_floating_point() else t for t in varying]
    others = [_flipped(tensor) for tensor in given] if reorders else given
    places = [arguments, [*elsewhere, *others]]
    buffers = Buffers()
    with random_states_kept(), buffers.noted():
        expected = [_drawn_from_seed(function, place) for place in places]

    def graph_of(exact: bool) -> tuple[Graph, list[tuple[Tensor, ...]]]:
        try:
            with random_states_kept(), buffers.restored(), _NothingIsRead():
                graph = capture(function, varying, given, choices, exact)
        except Exception as error:  # whatever a user's model does under a tracer
            lines = str(error).strip().splitlines() or [""]
            raise NotCapturedError(f"{type(error).__name__}: {lines[0]}") from error
        with buffers.restored():
            return graph, [
                _drawn_from_seed(Bound(graph, place[len(varying) :]), place[: len(varying)])
                for place in places
            ]

    graph, got = graph_of(exact=False)
    if _all_agree(got, expected):
        return Captured(graph, None)
    # What was captured must be right to rounding; only other arithmetic may open other rectifiers.
    exact, got_exactly = graph_of(exact=True)
    if not _all_agree(got_exactly, expected):
        raise NotCapturedError("its graph gives other numbers than the model elsewhere")
    if all(mostly_agree(a, b, OTHER_ARITHMETIC) for a, b in zip(got, expected, strict=True)):
        return Captured(graph, OTHER_ARITHMETIC)
    return Captured(exact, None)


class Buffers:
    """The buffers of the modules that a function calls, such as running statistics."""

    def __init__(self) -> None:
        self._found: dict[int, Tensor] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the buffers of every module that is called, and undo what is written into them."""
        before: dict[int, Tensor] = {}

        def note(module: nn.Module, _: Any) -> None:
            for buffer in module.buffers(recurse=False):
                if id(buffer) not in before:
                    self._found[id(buffer)], before[id(buffer)] = buffer, buffer.clone()

        handle = register_module_forward_pre_hook(note)
        try:
            yield
        finally:
            handle.remove()
            _put_back(self._found, before)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Undo what is written into the buffers that have been noted."""
        before = {key: buffer.clone() for key, buffer in self._found.items()}
        try:
            yield
        finally:
            _put_back(self._found, before)


def _put_back(buffers: dict[int, Tensor], values: dict[int, Tensor]) -> None:
    with torch.no_grad():
        for key, value in values.items():
            buffers[key].copy_(value)


def _drawn_from_seed(function: Function, arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
    with seeded(0):
        return function(*arguments)


def _all_agree(got: list[tuple[Tensor, ...]], expected: list[tuple[Tensor, ...]]) -> bool:
    return all(agree(a, b) for a, b in zip(got, expected, strict=True))


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Run torch from a seed, and leave its, Python's and NumPy's random states as they are."""
    states = random.getstate(), np.random.get_state()
    try:
        with seeded(0):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


_READS = {
    Tensor.item,
    Tensor.tolist,
    Tensor.numpy,
    Tensor.__array__,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
}


class _NothingIsRead(TorchFunctionMode):
    """Refuse what turns a tensor into Python numbers: a graph would keep them as constants."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READS:
            raise TypeError(f"it reads the values of a tensor into Python ({func.__name__})")
        return func(*args, **(kwargs or {}))


def _flipped(tensor: Tensor) -> Tensor:
    # Of the same strides: a compiled graph is for them.
    return torch.empty_like(tensor).copy_(tensor.flip(0)) if tensor.dim() else tensor
