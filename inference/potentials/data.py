"""Data whose every tensor leads with the example, kept together and indexed together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .containers import PAD, as_tensor, numbers_in
from .loading import unload

LISTS_ARE_ARRAYS = {"mask", "context"}
"""Keyword arguments in which lists of numbers are data; elsewhere they are handed on."""

LARGEST_COPIED = 2**28
"""Bytes of a mapped file up to which it is copied, as everything else is."""


@dataclass(frozen=True, eq=False)
class ExampleData:
    """The arguments of a model call for n examples.

    Every tensor in ``args`` and ``kwargs`` (also inside tuples, lists and dicts) has the example
    as its first dimension; whatever is not a tensor is handed on as it is. Shared data are the
    arguments of a model that is one example as a whole: its chains, as many as ``num_examples``
    says, have all of them in common.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    num_examples: int
    is_shared: bool = False
    model_device: torch.device | None = None

    @staticmethod
    def of(
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        dtype: torch.dtype,
        device: torch.device | None,
    ) -> "ExampleData":
        """Return data made from what a user gave: tensors, arrays, tables, a data set or a loader.

        Floating-point arrays take the model's ``dtype``, others keep theirs; all move to
        ``device``, or without one to that of the first tensor. Hidden values of masked arrays and
        missing ones of pandas become NaN. Lists of numbers are arrays as the first argument, as
        ``mask`` and in ``context``; elsewhere they are handed on. What is not converted is copied,
        so that it stays what it was when its owner changes it, unless it is large and mapped from a
        file.

        Raises
        ------
        ValueError
            If there is no tensor, no example, or the first dimensions differ.
        TypeError
            If something holds no numbers, or is sparse.
        """
        return ExampleData.shared(args, kwargs, dtype, device).by_example()

    @staticmethod
    def shared(
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        dtype: torch.dtype,
        device: torch.device | None,
    ) -> "ExampleData":
        """Return data made in the same way for one example that has all of them.

        Raises
        ------
        TypeError
            If something holds no numbers, or is sparse.
        """
        args = unload(args)

        def convert(path: str, value: Any) -> Any:
            made = as_tensor(path, value, dtype, place)
            if not isinstance(made, Tensor):
                return made
            return made.detach().clone() if _is_the_callers(value, made) else made.detach()

        place = device or _device_of((args, kwargs))
        given = dict(kwargs)
        args = tuple(numbers_in("data[0]", v) if i == 0 else v for i, v in enumerate(args))
        for name in LISTS_ARE_ARRAYS & given.keys():
            given[name] = _lists_as_arrays(name, given[name])
        args = tuple(_map_named(convert, f"data[{i}]", value) for i, value in enumerate(args))
        kwargs = {name: _map_named(convert, name, value) for name, value in given.items()}
        return ExampleData(args, kwargs, 1, is_shared=True, model_device=place)

    def by_example(self) -> "ExampleData":
        """Return shared data as those of many examples, with which every tensor leads.

        Raises
        ------
        ValueError
            If there is no tensor, no example, or the first dimensions differ.
        """
        args, kwargs = self.args, self.kwargs
        counts: dict[str, int] = {}

        def count(path: str, value: Any) -> None:
            if isinstance(value, Tensor):
                if value.dim() == 0:
                    raise ValueError(
                        f"{path} must have the example as its first dimension, got a tensor "
                        "without dimensions (a plain number is handed on as it is)"
                    )
                counts[path] = value.shape[0]

        for position, value in enumerate(args):
            _walk_tree(count, f"data[{position}]", value)
        for name, value in kwargs.items():
            _walk_tree(count, name, value)
        if not counts:
            raise ValueError(
                "data must hold at least one tensor or array with the example as its first "
                f"dimension, got {[type(value).__name__ for value in args]}"
            )
        path, num_examples = next(iter(counts.items()))
        if num_examples == 0:
            raise ValueError(f"{path} must hold at least one example, got none")
        for other, size in counts.items():
            if size != num_examples:
                listed = path.count("[") > 1 and path.rpartition("[")[0] == other.rpartition("[")[0]
                hint = f". If each item of that list is one example, {PAD}" if listed else ""
                raise ValueError(
                    f"{other} must have the example as its first dimension, of size "
                    f"{num_examples} as in {path}, got {size}{hint}"
                )
        return ExampleData(args, kwargs, num_examples)

    def select(self, index: Tensor | slice) -> "ExampleData":
        """Return the examples at ``index``, in that order; of a slice as views."""
        taken = range(self.num_examples)[index] if isinstance(index, slice) else index
        return self._map(lambda value: value[index], len(taken))

    def repeat(self, times: int) -> "ExampleData":
        """Return all examples ``times`` times over, one whole copy after the other."""
        if times == 1:
            return self
        return self._map(
            lambda value: value.repeat(times, *[1] * (value.dim() - 1)),
            times * self.num_examples,
        )

    def largest(self) -> float:
        """Return the largest finite size of a number in the data."""
        sizes = [v.abs().to(torch.float64) for v in self.tensors() if not v.is_complex()]
        return max((float(s.nan_to_num(0.0, 0.0).max()) for s in sizes if s.numel()), default=0.0)

    @property
    def device(self) -> torch.device:
        """Where the data are; of none at all, where the model is, or the default device."""
        where = self.model_device or torch.get_default_device()
        return next((tensor.device for tensor in self.tensors()), where)

    def tensors(self) -> list[Tensor]:
        """Return every tensor, in a fixed order."""
        return [value for _, value in self._leaves() if isinstance(value, Tensor)]

    def with_tensors(self, tensors: Iterable[Tensor]) -> "ExampleData":
        """Return the same with other tensors, in the order of :meth:`tensors`."""
        others = iter(tensors)

        def put(value: Any) -> Any:
            return next(others) if isinstance(value, Tensor) else value

        args = _map_tree(put, self.args)
        return replace(self, args=args, kwargs=_map_tree(put, self._sorted_kwargs()))

    def signature(self) -> tuple[Any, ...]:
        """Return what a graph of tensor operations depends on: shapes, types, other values."""
        return tuple(
            (path, value.shape, value.dtype, value.device, value.stride())
            if isinstance(value, Tensor)
            else (path, Identity(value))
            for path, value in self._leaves()
        )

    def form(self) -> tuple[Any, ...]:
        """Return names, kinds and shapes of one example's tensors."""
        return tuple(
            (path, value.shape[1:], value.dtype)
            for path, value in self._leaves()
            if isinstance(value, Tensor)
        )

    def _leaves(self) -> list[tuple[str, Any]]:
        """Return whatever is no tuple, list or dict, with its place, in a fixed order."""
        found: list[tuple[str, Any]] = []

        def collect(path: str, value: Any) -> None:
            found.append((path, value))

        _walk_tree(collect, "", (self.args, self._sorted_kwargs()))
        return found

    def _sorted_kwargs(self) -> dict[str, Any]:
        return dict(sorted(self.kwargs.items()))

    def _map(self, function: Callable[[Tensor], Tensor], num_examples: int) -> "ExampleData":
        if self.is_shared:
            return replace(self, num_examples=num_examples)

        def apply(value: Any) -> Any:
            return function(value) if isinstance(value, Tensor) else value

        return ExampleData(_map_tree(apply, self.args), _map_tree(apply, self.kwargs), num_examples)


def as_call(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a batch, one tensor, a tuple or a dict, as the arguments of a call."""
    if isinstance(batch, ExampleData):
        return batch.args, dict(batch.kwargs)
    if isinstance(batch, Mapping):
        return (), dict(batch)
    return (batch if isinstance(batch, tuple) else (batch,)), {}


class Identity:
    """Any object as a key: the same one only, and kept alive."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


def _device_of(given: Any) -> torch.device:
    """Return where the first tensor of what was given is, or the default device."""
    found: list[torch.device] = []
    _walk_tree(lambda _, v: found.append(v.device) if isinstance(v, Tensor) else None, "", given)
    return found[0] if found else torch.get_default_device()


def _lists_as_arrays(path: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists_as_arrays(f"{path}[{key!r}]", item) for key, item in value.items()}
    return numbers_in(path, value)


def _is_the_callers(value: Any, made: Tensor) -> bool:
    """Return whether data still lie where the caller has them, and are not too large to copy."""
    if isinstance(value, Tensor) and not isinstance(value, torch.masked.MaskedTensor):
        shared = made.data_ptr() == value.data_ptr() and made.device == value.device
        is_file = value.device.type == "cpu" and value.untyped_storage().filename is not None
    elif isinstance(value, np.ndarray):
        shared = made.device.type == "cpu" and np.shares_memory(made.numpy(), value)
        is_file = isinstance(value, np.memmap)
    else:
        # A table, say, which may lend its memory.
        return True
    return shared and not (is_file and made.nbytes >= LARGEST_COPIED)


def _map_tree(function: Callable[[Any], Any], value: Any) -> Any:
    return _map_named(lambda path, leaf: function(leaf), "", value)


def _map_named(function: Callable[[str, Any], Any], path: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _map_named(function, f"{path}[{k!r}]", item) for k, item in value.items()}
    if isinstance(value, tuple | list):
        made = [_map_named(function, f"{path}[{i}]", item) for i, item in enumerate(value)]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return function(path, value)


def _walk_tree(function: Callable[[str, Any], None], path: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _walk_tree(function, f"{path}[{key!r}]", item)
    elif isinstance(value, tuple | list):
        for position, item in enumerate(value):
            _walk_tree(function, f"{path}[{position}]", item)
    else:
        function(path, value)
