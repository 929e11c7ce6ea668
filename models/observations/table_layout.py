"""Where the columns of a table lie, in a row and among the network's outputs."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pyro.distributions as dist
from torch import Tensor

from .base import Observation
from .callables import as_observation
from .masked import Masked

Kind = Observation | Callable[[Tensor], dist.TorchDistribution]


class Group(NamedTuple):
    """Neighbouring columns of one kind.

    Attributes
    ----------
    names : tuple of str
        Of the columns.
    columns, outputs : slice
        Where they lie in a row, and their outputs among the network's.
    output_shape : tuple of int
        Of their outputs for one row.
    """

    names: tuple[str, ...]
    columns: slice
    outputs: slice
    output_shape: tuple[int, ...]

    @property
    def label(self) -> str:
        """Their names, for messages."""
        return ", ".join(map(repr, self.names))

    def of(self, output: Tensor) -> Tensor:
        """Return their part of the network's output, (n, *output_shape)."""
        return output[:, self.outputs].reshape(-1, *self.output_shape)


def checked_names(keys: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the names of all columns."""
    names: list[str] = []
    for key in keys:
        if not key:
            raise ValueError("columns must name at least one column for each observation, got ()")
        for name in key:
            if not isinstance(name, str):
                raise TypeError(
                    "columns must be named by a string, or several by a tuple of strings, got "
                    f"{name!r}"
                )
            if name in names:
                raise ValueError(f"columns must have names that differ, got {name!r} twice")
            names.append(name)
    if not names:
        raise ValueError("columns must name at least one column, got none")
    return tuple(names)


def as_kind(names: tuple[str, ...], kind: Kind) -> Observation:
    """Return a group's observation."""
    try:
        observation = as_observation(kind)
    except TypeError as error:
        raise TypeError(f"columns[{', '.join(map(repr, names))}]: {error}") from error
    if isinstance(observation, Masked):
        raise ValueError(
            f"columns[{', '.join(map(repr, names))}] is Masked: cells of a table are hidden by "
            "Masked(Columns(...)), around the whole of it"
        )
    return observation


def laid_out(keys: list[tuple[str, ...]], kinds: list[Observation]) -> tuple[Group, ...]:
    """Return where the columns and their outputs lie."""
    groups: list[Group] = []
    column = output = 0
    for names, kind in zip(keys, kinds, strict=True):
        shape = kind.output_shape((len(names),))
        ends = column + len(names), output + math.prod(shape)
        groups.append(Group(names, slice(column, ends[0]), slice(output, ends[1]), shape))
        column, output = ends
    return tuple(groups)
