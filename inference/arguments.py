"""Checks of what a caller gives."""

from typing import Any

import torch
from torch import Tensor


def check_positive(name: str, value: int) -> None:
    """Raise ValueError unless an argument is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


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
    return given.to(device, torch.int64)
