"""What values a distribution allows, cell by cell."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints


def elementwise(support: Any) -> Any:
    """Return what a support says of one cell."""
    while isinstance(support, torch.distributions.constraints.independent):
        support = support.base_constraint
    return support


class Within(constraints.Constraint):
    """Values of a support from one limit to another, both included; None: no limit."""

    def __init__(self, base: Any, low: Tensor | None, high: Tensor | None) -> None:
        self._base, self._low, self._high = base, low, high
        self.is_discrete = bool(base.is_discrete)
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return which values are."""
        allowed: Tensor = self._base.check(value)
        if self._low is not None:
            allowed = allowed & (value >= self._low)
        if self._high is not None:
            allowed = allowed & (value <= self._high)
        return allowed

    def __repr__(self) -> str:
        return f"{self._base} from {_shown(self._low)} to {_shown(self._high)}"


class OrBeyond(constraints.Constraint):
    """Values of a support, and anything at or below a limit or at or above another."""

    def __init__(self, base: Any, lower: Tensor | None, upper: Tensor | None) -> None:
        self._base, self._lower, self._upper = base, lower, upper
        self.is_discrete = bool(base.is_discrete)
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return which values are."""
        allowed: Tensor = self._base.check(value)
        if self._lower is not None:
            allowed = allowed | (value <= self._lower)
        if self._upper is not None:
            allowed = allowed | (value >= self._upper)
        return allowed

    def __repr__(self) -> str:
        return f"{self._base}, or beyond {_shown(self._lower)} and {_shown(self._upper)}"


def expanded(limit: Tensor | None, shape: torch.Size) -> Tensor | None:
    """Return a limit in the shape of a batch."""
    return None if limit is None else limit.expand(shape)


def _shown(limit: Tensor | None) -> str:
    if limit is None:
        return "no limit"
    smallest, largest = float(limit.min()), float(limit.max())
    return f"{smallest:g}" if smallest == largest else f"({smallest:g} ... {largest:g})"
