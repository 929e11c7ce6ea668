"""Evaluating a model by graphs that are captured from it, with the model itself as their judge."""

import dataclasses
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..potentials.data import ExampleData
from ..potentials.evaluation import SHARES, Task
from ..potentials.factorizations import LinAlgError
from ..potentials.potential import ENERGY, Potential
from ..potentials.trace import Model, seeded
from .bound import Bound, versions_of
from .choices import Choices
from .compilation import CompilationWarning, compiled
from .contents import Contents
from .graph import Graph
from .tracing import Buffers, Captured, NotCapturedError, captured, random_states_kept

COMPARED_EVERY = 256
"""Evaluations after which a graph is compared with the model again: well under 2 % of the time."""

WORTH_CAPTURING = 300
"""Evaluations that pay for a capture: from 30, of large networks, to 350, of loops over time."""

CAPTURED_FROM = 32
"""Evaluations after which a potential that is kept is captured: nobody knows how many will come."""

RECAPTURED_FROM = 8
"""Evaluations after which a model that has changed is captured again: it may go on changing."""

COMPILED_FROM = 100
"""Evaluations of a shape after which they are compiled, which takes seconds."""

STEP_COMPILED_FROM = 8
"""Steps of a kernel after which they are compiled, because there will be many."""

SHARES_COMPILED = (1, 3 / 4, 1 / 2, 3 / 8, *(0.5**k for k in range(2, 6)))
"""Shares of its rows that a batch may shrink to where what is compiled is a single step."""

LARGEST_KEPT = 2**28
"""Bytes of data up to which a copy in another order is kept."""

MOST_STATES = 4
"""States of a model whose graphs are kept: learning and evaluation mode are two."""

MOST_CHANGES = 200
"""States that a model may go through without one staying for long, until it is only run."""


class CaptureWarning(UserWarning):
    """A model cannot be captured, or was changed unseen, so what was captured of it is not used."""


@dataclass
class _Entry:
    """A graph in use, and as it was captured where it has been compiled since.

    ``uses`` counts its evaluations, ``compared_at`` is the count at which the model is asked next,
    ``doubts`` the number of the last doubt that has been settled.
    """

    captured: Captured
    graph: Graph
    doubts: int
    uses: int = 0
    compared_at: int = COMPARED_EVERY
    is_compiled: bool = False


@dataclass
class _State:
    """What has been captured of a model while its contents were the same."""

    contents: Contents
    calls: dict[Any, int] = field(default_factory=dict)
    entries: dict[Any, _Entry] = field(default_factory=dict)
    bounds: "WeakKeyDictionary[ExampleData, dict[Any, tuple[_Entry, Bound]]]" = field(
        default_factory=WeakKeyDictionary
    )


class CapturingEvaluator:
    """Evaluates one model's potentials by captured graphs.

    The life of a graph: a task is run as it is until a graph is worth it (``expect``, and a count
    where nobody says what will come); it is captured and checked (``tracing``), kept for one form
    of data (:class:`_Entry`) and bound to each data set of that form (``bound``); compiled after
    some more evaluations, if at all; compared with the model when :meth:`doubt` has been called and
    every 256 evaluations. Where they differ all graphs are made anew, and a ``CaptureWarning`` says
    so; where they differ again, and where a model cannot be captured, it is run from then on.

    Parameters
    ----------
    model : callable
        A Pyro model.
    compiles : bool, default False
        Compile the graphs, and whole steps of a kernel with them.
    looks : bool, default False
        Look at every call whether the model's modules are what they were, for a potential that is
        used for long without :meth:`doubt`. A model that may read other things too is not captured
        then, unless it is ``trusted``.
    trusted : bool, default False
        Capture at once, and whatever the model is.
    choices : Choices, optional
        What was measured to be fastest in an earlier part of a run.
    """

    def __init__(
        self,
        model: Model,
        *,
        compiles: bool = False,
        looks: bool = False,
        trusted: bool = False,
        choices: Choices | None = None,
    ) -> None:
        self.choices = Choices() if choices is None else choices
        self._model = model
        self._compiles = compiles
        self._looks = looks
        self._trusted = trusted
        self._must_look = True
        self._doubts = 0
        self._num_differences = 0
        self._num_states = 0
        self._num_captures: dict[Any, int] = {}
        self._is_off = False
        self._refused: set[Hashable] = set()
        self._expected: dict[str, int] = {}
        self._states: list[_State] = []
        self._kept: WeakKeyDictionary[ExampleData, dict[str, Any]] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings and choices: a copy makes graphs of its own, of its own model."""
        fresh = {"_must_look": True, "_num_captures": {}, "_refused": set(), "_states": []}
        return {**vars(self), **fresh, "_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with those and without graphs."""
        vars(self).update(state)
        self._kept = WeakKeyDictionary()

    @property
    def compiles(self) -> bool:
        """Whether graphs and steps are compiled."""
        return self._compiles and not self._is_off

    @property
    def shares(self) -> Sequence[float]:
        """Shares of its rows that a batch may shrink to."""
        return SHARES_COMPILED if self.compiles else SHARES

    @property
    def graphs(self) -> list[Graph]:
        """The graphs that are in use."""
        entries = self._states[0].entries.values() if self._states else ()
        return [entry.graph for entry in entries]

    def compile(self, compiles: bool) -> None:
        """Compile graphs from now on, or do not."""
        if compiles != self._compiles:
            self._compiles = compiles
            self._states = []
            self._must_look = True

    def expect(self, num_evaluations: Mapping[str, int]) -> None:
        """Say how many evaluations will come, by the kind of task: few are not worth a graph.

        Those of one run after the other add up, and what was found worth it once stays so.
        """
        for kind, number in num_evaluations.items():
            total = self._expected[kind] = self._expected.get(kind, 0) + number
            name = f"capture {kind}"
            pays = self._compiles or self._trusted or total >= WORTH_CAPTURING
            self.choices.made[name] = bool(self.choices.made.get(name)) or pays

    def look(self) -> None:
        """See at the next call whether the model is what it was.

        Where it may read what its modules do not hold, graphs are compared with it.
        """
        self._must_look = True
        if self._states and not self._states[0].contents.complete:
            self._doubts += 1

    def doubt(self) -> None:
        """Compare every graph with the model at its next use: somebody may have changed it."""
        self._must_look = True
        self._doubts += 1

    def fuses(self, task: Task) -> bool:
        """Return whether a task that makes steps is compiled as one, or still may be."""
        return self.compiles and self._is_captured(task)

    def kept(
        self, data: ExampleData, place: str, key: Hashable, make: Callable[[], ExampleData]
    ) -> ExampleData:
        """Return what is made of data, or what was made of it at that place by the same key."""
        versions = versions_of(data.tensors())
        if versions is None:
            return make()
        places = self._kept.setdefault(data, {})
        found = places.get(place)
        if found is None or found[0] != (key, versions):
            made = make()
            # What refers to itself would never go away.
            if made is data or sum(tensor.nbytes for tensor in made.tensors()) > LARGEST_KEPT:
                return made
            found = places[place] = ((key, versions), made)
        value: ExampleData = found[1]
        return value

    def __call__(self, task: Task, potential: Potential, *varying: Tensor) -> tuple[Tensor, ...]:
        """Return ``task.function(potential, *varying)``, by a graph where there is one."""
        if self._looks or self._must_look:
            self._look()
        tensors = _with_beta(potential, varying)
        key = _key(task, potential, tensors)
        bounds = self._states[0].bounds.get(potential.data) if self._states else None
        found = None if bounds is None else bounds.get(key)
        if found is None or (self._compiles and not found[0].is_compiled):
            found = self._find(task, key, potential, tensors) if self._is_captured(task) else None
            if found is None:
                # What is inside a step that will be captured whole need not be captured.
                inside = task.num_steps > 0 and self._is_captured(task)
                return task.function(potential.plain() if inside else potential, *varying)
        entry, bound = found
        entry.uses += 1
        try:
            if entry.uses < entry.compared_at and entry.doubts == self._doubts:
                return bound(*tensors)
            return self._judged(task, entry, bound, potential, varying)
        except LinAlgError:
            if task.num_steps == 0:
                raise
            # In steps that are run one by one, the potential finds the rows that fail.
            return task.function(potential.plain(), *varying)

    def _is_captured(self, task: Task) -> bool:
        """Return whether a task is, or may still be, captured."""
        if self._is_off or (task.num_steps > 0 and not self._compiles):
            return False
        return task.name not in self._refused and self._is_worth_it(task)

    def _is_worth_it(self, task: Task) -> bool:
        kind = task.name[0] if isinstance(task.name, tuple) else task.name
        return bool(self.choices.made.get(f"capture {kind}", True))

    def _look(self) -> None:
        """Put the state first whose contents are the model's, or begin a new one."""
        self._must_look = False
        if self._is_off:
            return
        for place, state in enumerate(self._states):
            if state.contents.unchanged():
                if place > 0:
                    self._states.insert(0, self._states.pop(place))
                return
        contents = Contents(self._model)
        if contents.hooked:
            self._turn_off(f"it has forward hooks ({contents.hooked[0]}), which shall be called")
            return
        if self._looks and not contents.complete and not self._trusted:
            self._is_off = True
            return
        self._states = [_State(contents), *self._states[: MOST_STATES - 1]]
        self._num_states += 1
        if self._num_states > MOST_CHANGES:
            self._turn_off("an attribute that it reads is set anew all the time")

    def _find(
        self, task: Task, key: Any, potential: Potential, tensors: Sequence[Tensor]
    ) -> tuple[_Entry, Bound] | None:
        """Return the graph of a task bound to its data, None while it is to be run as it is."""
        entry = self._entry(task, key, potential, tensors)
        if entry is None:
            return None
        bounds = self._states[0].bounds.setdefault(potential.data, {})
        if key not in bounds:
            bounds[key] = entry, Bound(entry.graph, potential.data.tensors())
        return bounds[key]

    def _entry(
        self, task: Task, key: Any, potential: Potential, tensors: Sequence[Tensor]
    ) -> _Entry | None:
        """Return the graph of a task for data of this form, made and compiled when it is time."""
        state, form = self._states[0], (*key, potential.data.signature())
        calls = state.calls[form] = state.calls.get(form, 0) + max(task.num_steps, 1)
        if form not in state.entries:
            if calls < self._captured_from(task, form) or (
                task.num_steps > 0 and not self._energy_is_the_models(potential, tensors[0])
            ):
                return None
            entry = self._new_entry(task, potential, tensors)
            if entry is None:
                return None
            state.entries[form] = entry
            self._num_captures[form] = self._num_captures.get(form, 0) + 1
            self._num_states = 0
        entry = state.entries[form]
        if self._compiles and not entry.is_compiled and calls >= _compiled_from(task):
            self._compile(entry, tensors, potential.data.tensors())
            state.bounds.clear()
        return entry

    def _captured_from(self, task: Task, form: Any) -> int:
        """Return from how many evaluations on a task is captured."""
        if task.num_steps > 0:
            return STEP_COMPILED_FROM
        first = CAPTURED_FROM if self._looks and not self._trusted else 0
        # Who changes a model again and again waits longer each time.
        return first + RECAPTURED_FROM * self._num_captures.get(form, 0)

    def _new_entry(
        self, task: Task, potential: Potential, tensors: Sequence[Tensor]
    ) -> _Entry | None:
        num_varying = len(tensors) if potential.beta is None else len(tensors) - 1

        def function(*arguments: Tensor) -> tuple[Tensor, ...]:
            given = arguments[len(tensors) :]
            plain = dataclasses.replace(
                potential.plain(),
                data=potential.data.with_tensors(given),
                beta=None if potential.beta is None else arguments[num_varying],
            )
            return task.function(plain, *arguments[:num_varying])

        varying = [t.detach() for t in (task.tame(tensors) if task.tame else tensors)]
        try:
            data = potential.data
            found = captured(function, varying, data.tensors(), self.choices, not data.is_shared)
        except NotCapturedError as error:
            self._refused.add(task.name)
            # Steps are captured only to be compiled: that they cannot be is no news.
            if task.num_steps == 0:
                self._turn_off(str(error))
            return None
        return _Entry(found, found.graph, self._doubts)

    def _compile(self, entry: _Entry, varying: Sequence[Tensor], given: Sequence[Tensor]) -> None:
        try:
            entry.graph = compiled(entry.graph, varying, [*given, *entry.graph.held])
            entry.is_compiled = True
        except RuntimeError as error:
            self._compiles = False
            warnings.warn(
                f"the model's graph cannot be compiled, its operations run one by one: {error}",
                CompilationWarning,
                stacklevel=2,
            )

    def _judged(
        self,
        task: Task,
        entry: _Entry,
        bound: Bound,
        potential: Potential,
        varying: tuple[Any, ...],
    ) -> tuple[Tensor, ...]:
        """Compare a graph with the model; return the result of the one that is right."""
        entry.compared_at, entry.doubts = entry.uses + COMPARED_EVERY, self._doubts
        if task.num_steps > 0:
            # A graph of steps is as true as that of the energy, which was made of the same model.
            right = self._energy_is_the_models(potential, varying[0])
        else:
            right = self._is_the_models(task, entry, potential, varying)
        if not right:
            return task.function(potential.plain(), *varying)
        return bound(*_with_beta(potential, varying))

    def _energy_is_the_models(self, potential: Potential, position: Tensor) -> bool:
        """Return whether the energy's graph gives what the model gives now; made if need be."""
        tensors = _with_beta(potential, (position,))
        entry = self._entry(ENERGY, _key(ENERGY, potential, tensors), potential, tensors)
        return entry is not None and self._is_the_models(ENERGY, entry, potential, (position,))

    def _is_the_models(
        self, task: Task, entry: _Entry, potential: Potential, varying: tuple[Any, ...]
    ) -> bool:
        value = task.value or task.function
        buffers = Buffers()
        with torch.no_grad(), random_states_kept(), buffers.noted():
            expected = value(potential.plain(), *varying)
        with seeded(0), buffers.restored():
            # As it was captured: compiled, it has other roundings.
            graph = Bound(entry.captured.graph, potential.data.tensors())
            got = graph(*_with_beta(potential, varying))
        values = got[: len(expected)]
        if entry.captured.has_values(values, expected):
            return True
        self._notice_difference(values[0], expected[0])
        return False

    def _notice_difference(self, got: Tensor, expected: Tensor) -> None:
        self._num_differences += 1
        apart = (got - expected).abs().flatten()
        what = (
            "the model has changed since it was captured as a graph, in something that cannot be "
            "seen from outside, such as a global variable, a class attribute or an array: what it "
            f"gives differs by up to {float(apart.max()):.3g} nats (row {int(apart.argmax())}). "
            f"Up to {COMPARED_EVERY} evaluations before this one may have been of the model as it "
            "was"
        )
        if self._num_differences > 1:
            self._is_off, self._states = True, []
            remedy = "it is the second time, so every gradient runs it through Pyro from now on"
        else:
            self._states, self._must_look = [], True
            remedy = "it is captured anew"
        warnings.warn(f"{what}; {remedy}", CaptureWarning, stacklevel=2)

    def _turn_off(self, reason: str) -> None:
        self._is_off, self._states = True, []
        warnings.warn(
            "the model cannot be captured as a graph of tensor operations, so every gradient runs "
            f"it through Pyro, which is slower (capture=False says that this is meant): {reason}",
            CaptureWarning,
            stacklevel=2,
        )


def _with_beta(potential: Potential, varying: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a graph is given at every evaluation."""
    return varying if potential.beta is None else (*varying, potential.beta)


def _key(task: Task, potential: Potential, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    return (task.name, potential.autocast, *map(_form, tensors))


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _compiled_from(task: Task) -> int:
    return STEP_COMPILED_FROM if task.num_steps > 0 else COMPILED_FROM
