"""Graphs of a model's energies, captured once for each shape and used while the model is the same.

A model is a function of its arguments and of its :class:`Contents`. Tensors are read by reference,
so a change in place is seen; when anything in it is another object, the graph is captured anew.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..potentials.trace import Model, seeded
from .agreement import OTHER_ARITHMETIC, agree, mostly_agree
from .compilation import CompilationWarning, compiled
from .contents import Contents
from .graph import Graph, capture

RECAPTURED_FROM = 8
"""Evaluations of a shape after which a changed model is captured again: it may go on changing."""

COMPILED_FROM = 100
"""Evaluations of a shape after which they are compiled, which takes seconds."""

STEP_COMPILED_FROM = 8
"""Steps of a kernel after which they are compiled, because there will be many."""

MOST_CONTENTS = 4
"""States of a model whose graphs are kept: learning and evaluation mode are two."""

MOST_GRAPHS = 64
"""Graphs of a state that are kept."""

MOST_CHANGES = 200
"""States that a model may go through without one staying for long, until it is only traced."""

Evaluation = Callable[..., tuple[Tensor, ...]]


class CaptureWarning(UserWarning):
    """A model cannot be captured, so every gradient runs it through Pyro."""


class Bound:
    """A graph with the data that it is evaluated on.

    ``settled`` says whether it is the last word, or will be compiled after some more evaluations.
    """

    def __init__(
        self, graph: Graph, given: Sequence[Tensor], contents: Contents, settled: bool = True
    ) -> None:
        self.graph = graph
        self.contents = contents
        self.settled = settled
        self._sources = [*given, *graph.held]
        self._versions: list[int] | None = None
        self._prepared: tuple[Tensor, ...] = ()

    def __call__(self, *varying: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, detached. Changes of weights and data in place are seen."""
        with torch.no_grad():
            return self.graph.evaluate(*varying, *self.prepared())

    def prepared(self) -> tuple[Tensor, ...]:
        """Return what does not depend on the varying inputs, evaluated anew if it has changed."""
        versions = versions_of(self._sources)
        if versions is None or versions != self._versions:
            self._prepared = self.graph.prepare(*self._sources)
            self._versions = versions
        return self._prepared


def versions_of(tensors: Sequence[Tensor]) -> list[int] | None:
    """Return torch's counts of changes in place, None where it does not count them."""
    try:
        return [tensor._version for tensor in tensors]
    except RuntimeError:  # made in inference mode: torch does not count their changes
        return None


class _State:
    """What has been captured of a model while its contents were the same."""

    def __init__(self, model: Model) -> None:
        self.contents = Contents(model)
        self.num_calls: dict[Any, int] = {}
        self.graphs: dict[Any, Graph] = {}
        self.compiled: set[Any] = set()


class Captures:
    """The captured graphs of one model, shared by all its potentials.

    Parameters
    ----------
    compiles : bool, default False
        Compile the graphs, and whole steps of a kernel with them.
    """

    def __init__(self, compiles: bool = False) -> None:
        self.compiles = compiles
        self._refused: set[Any] = set()
        self._states: list[_State] = []
        self._num_states = 0
        self._num_captures: dict[Any, int] = {}
        self._failed = False

    def can_capture(self, name: Any) -> bool:
        """Return whether an evaluation is, or may still be, captured."""
        return not self._failed and name not in self._refused

    def compile(self, compiles: bool) -> None:
        """Compile graphs from now on, or do not."""
        if compiles != self.compiles:
            self.compiles = compiles
            self._states = []

    def bound(
        self,
        model: Model,
        key: tuple[Any, ...],
        evaluation: Evaluation,
        varying: Sequence[Tensor],
        given: list[Tensor],
        num_steps: int = 0,
    ) -> Bound | None:
        """Return the graph of an evaluation, or None while it is to be run as it is.

        Parameters
        ----------
        model : callable
            What ``evaluation`` runs.
        key : tuple
            Names the evaluation: what is computed, then of which shapes.
        evaluation : callable
            ``evaluation(*varying, *given)``, detached tensors.
        varying, given : sequence of Tensor
            The arguments of this call.
        num_steps : int, default 0
            Steps of a kernel that it makes, in which case it is no news if it cannot be captured;
            none where it is an evaluation of the model alone.

        Warns
        -----
        CaptureWarning
            Once, if the model cannot be captured.
        """
        if not self.can_capture(key[0]):
            return None
        state = self._state(model)
        if self._failed:
            return None
        optional = num_steps > 0
        num_calls = state.num_calls[key] = state.num_calls.get(key, 0) + max(num_steps, 1)
        compiled_from = STEP_COMPILED_FROM if optional else COMPILED_FROM
        graph = state.graphs.get(key)
        if graph is None:
            # Who changes the model again and again waits longer each time.
            patience = RECAPTURED_FROM * self._num_captures.get(key, 0)
            if num_calls < max(patience, compiled_from if optional else 0):
                return None
            graph = self._captured(key[0], evaluation, varying, given, state.contents, optional)
            if graph is None:
                return None
            self._num_captures[key] = self._num_captures.get(key, 0) + 1
            self._num_states = 0
            while len(state.graphs) >= MOST_GRAPHS:
                del state.graphs[next(iter(state.graphs))]
            state.graphs[key] = graph
        if self.compiles and key not in state.compiled and num_calls >= compiled_from:
            graph = state.graphs[key] = self._compiled(graph, varying, given)
            state.compiled.add(key)
        settled = not self.compiles or key in state.compiled
        return Bound(graph, given, state.contents, settled)

    def _state(self, model: Model) -> _State:
        for state in self._states:
            if state.contents.unchanged():
                return state
        state = _State(model)
        self._states = [state, *self._states[: MOST_CONTENTS - 1]]
        self._num_states += 1
        if self._num_states > MOST_CHANGES:
            self._fail("an attribute or variable that it reads is set anew all the time")
        return state

    def _captured(
        self,
        name: Any,
        evaluation: Evaluation,
        varying: Sequence[Tensor],
        given: list[Tensor],
        contents: Contents,
        optional: bool,
    ) -> Graph | None:
        graph: Graph | None = None
        try:
            with contents.buffers_restored():
                graph = _checked_graph(evaluation, varying, given, contents)
        except Exception as error:  # whatever a user's model does under a tracer
            # What is wrong without a tracer too is no news about capturing.
            evaluation(*varying, *given)
            lines = str(error).strip().splitlines() or [""]
            failure = f"{type(error).__name__}: {lines[0]}"
        else:
            failure = "" if graph else "its graph gives other numbers than the model elsewhere"
            if not contents.unchanged():
                failure = "running it sets an attribute or a variable that it reads"
        if failure:
            self._refused.add(name)
            if not optional:
                self._fail(failure)
            return None
        return graph

    def _compiled(self, graph: Graph, varying: Sequence[Tensor], given: list[Tensor]) -> Graph:
        try:
            return compiled(graph, varying, [*given, *graph.held])
        except RuntimeError as error:
            self.compiles = False
            warnings.warn(
                f"the model's graph cannot be compiled, its operations run one by one: {error}",
                CompilationWarning,
                stacklevel=2,
            )
            return graph

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._states = []
        warnings.warn(
            "the model cannot be captured as a graph of tensor operations, so every gradient runs "
            f"it through Pyro, which is slower: {reason}",
            CaptureWarning,
            stacklevel=2,
        )


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


def _checked_graph(
    evaluation: Evaluation, varying: Sequence[Tensor], given: list[Tensor], contents: Contents
) -> Graph | None:
    """Return a graph that gives the model's numbers where nothing was captured, if there is one."""
    elsewhere = [0.75 * _flipped(t) if t.is_floating_point() else t for t in varying]
    others = [_flipped(tensor) for tensor in given]

    def captured(exact: bool) -> tuple[Graph, tuple[Tensor, ...]]:
        with _NothingIsRead():
            graph = capture(evaluation, varying, given, exact)
        with seeded(0):
            return graph, Bound(graph, others, contents)(*elsewhere)

    graph, got = captured(exact=False)
    with seeded(0):
        expected = evaluation(*elsewhere, *others)
    if agree(got, expected):
        return graph
    # What was captured must be right to rounding; only other arithmetic may open other rectifiers.
    exact, got_exactly = captured(exact=True)
    if not agree(got_exactly, expected):
        return None
    return graph if mostly_agree(got, expected, OTHER_ARITHMETIC) else exact


def _flipped(tensor: Tensor) -> Tensor:
    # Of the same strides: a compiled graph is for them.
    return torch.empty_like(tensor).copy_(tensor.flip(0)) if tensor.dim() else tensor
