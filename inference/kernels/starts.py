"""Whether chains can start where they are: a kernel's ``init`` returns, its caller looks."""

import math
from typing import Any

import torch
from torch import Tensor

from .acceptance import is_finite
from .base import Kernel
from .capabilities import is_adjusted


class NonFiniteStartError(ValueError):
    """A chain's energy or gradient is not finite where it starts.

    Attributes
    ----------
    rows : list of int
        Rows of the batch it happened in.
    """

    def __init__(self, message: str, rows: list[int]) -> None:
        super().__init__(message)
        self.rows = rows


def start_total(kernel: Kernel[Any], state: Any) -> Tensor:
    """Return one number, not finite if an energy or gradient at the start is not.

    A tensor, so that it can be part of a graph. It may overflow where nothing else has; and a
    kernel whose ``init`` evaluates nothing has nothing to look at.
    """
    position: Tensor = state.position
    if not is_adjusted(kernel):
        return position.new_zeros(())
    total: Tensor = state.energy.sum() + state.gradient.sum()
    return total


def rows_not_finite(kernel: Kernel[Any], state: Any) -> list[int]:
    """Return the rows in which an energy or gradient is not finite at the start."""
    if not is_adjusted(kernel) or math.isfinite(float(start_total(kernel, state))):
        return []
    rows: list[int] = torch.nonzero(~is_finite(state.energy, state.gradient))[:, 0].tolist()
    return rows


def check_start(kernel: Kernel[Any], state: Any) -> None:
    """Raise :class:`NonFiniteStartError` unless all energies and gradients are finite."""
    rows = rows_not_finite(kernel, state)
    if rows:
        raise NonFiniteStartError(
            f"the energy or its gradient is not finite at the start of the chain in row {rows[0]} "
            f"({len(rows)} of {len(state.position)} rows; energy {float(state.energy[rows[0]])})",
            rows,
        )
