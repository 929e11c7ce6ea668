"""The objects that a module is made of, and whether they still are what they were."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import pyro
import torch
from torch import Tensor, nn

OURS = ("torch", "pyro", "explainaway")
"""Packages whose modules keep all that they read in their attributes."""

MOST_OBJECTS = 10_000
"""Objects that are looked through."""


class Contents:
    """The attributes of a model's modules and of what these hold, and Pyro's parameters.

    Parameters, buffers, submodules, hooks and the training mode are attributes. A tensor counts as
    the same object whatever it holds: graphs read it by reference.

    ``complete`` says whether a model reads nothing else: it is made of torch's and this library's
    own pieces. A function, or a module of somebody else's, may read globals, closures, files;
    nobody can list them. ``hooked`` names the modules that call something when they run.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        sources, self.complete = _sources(model)
        modules = model.named_modules() if isinstance(model, nn.Module) else ()
        self.hooked = [name or "the model" for name, module in modules if _has_hooks(module)]
        self._sources = [*sources, _ParameterStore()]
        # Kept alive, so that no other object takes its place in memory.
        self._seen = list(chain.from_iterable(self._sources))
        self._ids = list(map(id, self._seen))

    def unchanged(self) -> bool:
        """Return whether everything is the object that it was."""
        return list(map(id, chain.from_iterable(self._sources))) == self._ids


class _ParameterStore:
    """Pyro's parameters as they are now; clearing the store makes another dictionary."""

    def __iter__(self) -> Iterator[Any]:
        return iter(pyro.get_param_store()._params.values())


def _sources(model: Callable[..., Any]) -> tuple[list[Iterable[Any]], bool]:
    """Return live views of the attributes that can be reached, and whether that is all."""
    sources: list[Iterable[Any]] = []
    met: set[int] = set()
    waiting: list[Any] = [model]
    complete = True
    while waiting:
        value = waiting.pop()
        if id(value) in met or isinstance(value, _CONSTANT):
            continue
        if len(met) == MOST_OBJECTS:
            return sources, False
        met.add(id(value))
        found: Iterable[Any] = ()
        if isinstance(value, dict):
            found = value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            found = value
        else:
            complete = complete and _is_ours(value)
            if _is_ours(value) or isinstance(value, nn.Module):
                attributes = getattr(value, "__dict__", {})
                found = attributes.values() if isinstance(attributes, dict) else ()
        sources.append(found)
        waiting.extend(found)
    return sources, complete


_CONSTANT = (Tensor, str, bytes, int, float, complex, type(None), torch.dtype, torch.device)


def _is_ours(value: Any) -> bool:
    """Return whether an object's class, or a function, is of a package that is known."""
    module = getattr(value, "__module__", None) or ""
    closed = getattr(value, "__closure__", None)
    return isinstance(module, str) and module.split(".")[0] in OURS and not closed


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
