"""What a model reads that is not one of its arguments, and whether it has changed."""

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import pyro
import torch
from torch import Tensor, nn

LIBRARIES = ("torch", "pyro", "numpy", "scipy", "builtins", "explainaway")
"""Packages whose own functions and globals do not change."""

MOST_OBJECTS = 10_000
"""Objects that are looked through before the rest is taken to be constant."""

MOST_ITEMS = 1_000
"""Items of a list or dictionary that is looked through; a longer one is data, and constant."""


class Contents:
    """Everything that a model refers to: attributes, closures, globals, lists, dictionaries.

    Modules with their parameters, buffers, hooks and mode are among them, and Pyro's parameter
    store. A tensor counts as the same object whatever it holds: graphs read it by reference.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self._sources = [(model,), *_sources(model), _ParameterStore()]
        # Kept alive, so that no other object takes its place in memory.
        self._seen = list(chain.from_iterable(self._sources))
        self._ids = list(map(id, self._seen))

    def unchanged(self) -> bool:
        """Return whether everything is the object that it was."""
        return list(map(id, chain.from_iterable(self._sources))) == self._ids

    @contextmanager
    def buffers_restored(self) -> Iterator[None]:
        """Undo what is written into modules' buffers, such as running statistics."""
        buffers = {
            id(buffer): buffer
            for module in self._seen
            if isinstance(module, nn.Module)
            for buffer in module.buffers()
        }
        before = [(buffer, buffer.clone()) for buffer in buffers.values()]
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in before:
                    buffer.copy_(value)


class _ParameterStore:
    """Pyro's parameters as they are now; clearing the store makes another dictionary."""

    def __iter__(self) -> Iterator[Any]:
        return iter(pyro.get_param_store()._params.values())


class _Cell:
    """The variable of a closure, as it is now."""

    def __init__(self, cell: types.CellType) -> None:
        self._cell = cell

    def __iter__(self) -> Iterator[Any]:
        try:
            yield self._cell.cell_contents
        except ValueError:  # not assigned yet
            yield None


class _Globals:
    """The global variables that a function names, as they are now."""

    def __init__(self, scope: Mapping[str, Any], names: Iterable[str]) -> None:
        self._scope = scope
        self._names = list(names)

    def __iter__(self) -> Iterator[Any]:
        return map(self._scope.get, self._names)


def _sources(model: Callable[..., Any]) -> list[Iterable[Any]]:
    """Return live views of what can be reached from a model."""
    sources: list[Iterable[Any]] = []
    met: set[int] = set()
    waiting: list[Any] = [model]
    while waiting and len(met) < MOST_OBJECTS:
        value = waiting.pop()
        if id(value) in met:
            continue
        met.add(id(value))
        found = _views(value)
        sources.extend(found)
        waiting.extend(chain.from_iterable(found))
    return sources


def _views(value: Any) -> list[Iterable[Any]]:
    """Return what one object refers to."""
    if isinstance(value, Tensor | type | types.ModuleType | str | bytes | int | float):
        return []
    if isinstance(value, Mapping | list | tuple):
        if len(value) > MOST_ITEMS:
            return []
        return [value.values() if isinstance(value, Mapping) else value]
    if isinstance(value, types.FunctionType):
        return _views_of_function(value)
    if isinstance(value, types.MethodType):
        return [(value.__self__, value.__func__)]
    if isinstance(value, functools.partial):
        return [(value.func, value.args, value.keywords)]
    views: list[Iterable[Any]] = []
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        views.append(attributes.values())
    for name in ("forward", "__call__") if isinstance(value, nn.Module) else ("__call__",):
        function = getattr(type(value), name, None)
        if isinstance(function, types.FunctionType):
            views.append((function,))
    return views


def _views_of_function(function: types.FunctionType) -> list[Iterable[Any]]:
    if (function.__module__ or "").split(".")[0] in LIBRARIES and not function.__closure__:
        return []
    views: list[Iterable[Any]] = [_Cell(cell) for cell in function.__closure__ or ()]
    views.append(function.__dict__.values())
    views.append(function.__defaults__ or ())
    if (function.__module__ or "").split(".")[0] not in LIBRARIES:
        names = set(_names(function.__code__)) & function.__globals__.keys()
        views.append(_Globals(function.__globals__, sorted(names)))
    return views


def _names(code: types.CodeType) -> Iterator[str]:
    """Return the names that a function and those written inside it look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
