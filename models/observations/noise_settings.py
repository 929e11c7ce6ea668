"""Settings of noise that may be learned, and their checks."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..arguments import as_sizes, first_place, is_integer

Learning = bool | Literal["closed form"]
"""Whether something is learned: by its gradient (True), in closed form, or not at all."""


def checked_scale(scale: float | Tensor) -> Tensor:
    """Return standard deviations as a tensor of their own, which are positive and finite.

    Raises
    ------
    ValueError
        If they are not; the message names the place.
    """
    value = torch.as_tensor(scale, dtype=torch.get_default_dtype()).detach().clone()
    wrong = ~((value > 0) & value.isfinite())
    if bool(wrong.any()):
        place = first_place(wrong)
        where = f" at {list(place)}" if place else ""
        raise ValueError(f"scale must be positive and finite, got {float(value[place]):g}{where}")
    return value


def checked_sizes(name: str, value: int | Sequence[int], smallest: int = 1) -> tuple[int, ...]:
    """Return one or several integers as a tuple.

    Raises
    ------
    ValueError
        If one of them is smaller than ``smallest``.
    """
    sizes = as_sizes(value)
    if not sizes or not all(is_integer(size) and size >= smallest for size in sizes):
        raise ValueError(f"{name} must be integers, {smallest} or more, got {value!r}")
    return sizes


def check_nugget(nugget: float) -> None:
    """Raise ValueError if a smallest variance, as a share of the first one, is not a share."""
    if not 0 < nugget < 1:
        raise ValueError(f"nugget must lie between 0 and 1, got {nugget!r}")


def check_learning(name: str, value: Learning) -> None:
    """Raise ValueError if a way of learning is none of the three."""
    if value not in (True, False, "closed form"):
        raise ValueError(f'{name} must be True, False or "closed form", got {value!r}')


def by_column(module: nn.Module, name: str, number: int, own_dims: int = 0) -> None:
    """Give a parameter or a buffer that is the same in all cells a first dimension of columns.

    Parameters
    ----------
    module : nn.Module
        That has it.
    name : str
        Its attribute.
    number : int
        Of columns.
    own_dims : int
        Its dimensions where it is the same in all cells.
    """
    value = getattr(module, name)
    if value.dim() > own_dims:
        return
    repeated = value.detach().expand(number, *value.shape).clone()
    is_parameter = isinstance(value, nn.Parameter)
    made = nn.Parameter(repeated, requires_grad=value.requires_grad) if is_parameter else repeated
    setattr(module, name, made)
