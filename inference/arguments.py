"""Checks of what a caller gives, and Python's numbers for NumPy's and torch's."""

import dataclasses
import operator
import secrets
from typing import Any

import numpy as np
import torch
from torch import Tensor


def checked_integer(name: str, value: Any, least: int | None = None) -> int:
    """Return an integer of Python, NumPy or torch (of no dimension) as Python's.

    Raises
    ------
    ValueError
        If it is none (a truth value, a float, an array), or less than ``least``.
    """
    number = _index(value)
    if number is None or (least is not None and number < least):
        kind = {None: "an integer", 1: "a positive integer"}.get(
            least, f"an integer of at least {least}"
        )
        raise ValueError(f"{name} must be {kind}, got {value!r}")
    return number


def checked_seed(value: Any) -> int:
    """Return a seed as Python's integer, for None one of this call alone."""
    return secrets.randbits(31) if value is None else checked_integer("seed", value)


def check_positive(name: str, value: Any) -> int:
    """Return a positive integer as Python's; raise ValueError unless it is one."""
    return checked_integer(name, value, 1)


def plain_number(value: Any) -> Any:
    """Return a single real number of NumPy or torch as Python's, everything else as it is."""
    is_one = isinstance(value, np.number) or (
        isinstance(value, Tensor | np.ndarray)
        and value.ndim == 0
        and "bool" not in str(value.dtype)
    )
    return value.item() if is_one else value


def _index(value: Any) -> int | None:
    value = plain_number(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int):
        return None
    return operator.index(value)


def plain_settings(settings: Any) -> None:
    """Make the numbers of a frozen dataclass Python's, from its ``__post_init__``.

    Settings are compared by how they are written, by checkpoints for one.
    """
    for field in dataclasses.fields(settings):
        value = plain_number(getattr(settings, field.name))
        object.__setattr__(settings, field.name, value)


def checked_ids(ids: Any, num_examples: int, device: torch.device) -> Tensor | None:
    """Return the numbers that examples' noise belongs to, (n,); None where it is their place.

    Raises
    ------
    ValueError
        If they are not as many integers as there are examples, or two are the same.
    """
    if ids is None:
        return None
    given = torch.as_tensor(ids)
    whole = not given.is_floating_point() and not given.is_complex() and given.dtype != torch.bool
    if given.shape != (num_examples,) or not whole:
        raise ValueError(
            f"ids must hold an integer for each of the {num_examples} examples, got shape "
            f"{tuple(given.shape)} of {given.dtype}"
        )
    numbers, counts = given.unique(return_counts=True)
    if len(numbers) < num_examples:
        raise ValueError(
            f"ids must differ, got {int(numbers[counts > 1][0])} more than once: those examples "
            "would have the same noise"
        )
    return given.to(device, torch.int64, copy=True)
