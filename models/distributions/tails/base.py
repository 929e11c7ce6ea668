"""What is asked of a family of distributions whose values may be known by limits alone."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor


class Tails(ABC):
    """Probabilities of independent cells below, above and between limits, in logarithms.

    All of them are exact far out in both tails, and so are their gradients in the parameters of the
    distribution. Limits broadcast to its batch shape and are part of what is asked: at or below,
    at or above, from one to the other.

    Parameters
    ----------
    cells : Distribution
        Batch shape (n, ...), no event shape.
    """

    is_discrete = False
    inside: float = 0.0
    """A number of the support."""
    least: float = -torch.inf
    """Nothing lies below."""

    def __init__(self, cells: Any) -> None:
        self.cells = cells

    @property
    @abstractmethod
    def spread(self) -> Tensor:
        """A typical distance of values, for searches."""

    @abstractmethod
    def log_below(self, value: Tensor) -> Tensor:
        """Return ``log P(Y <= value)``, value finite."""

    @abstractmethod
    def log_above(self, value: Tensor) -> Tensor:
        """Return ``log P(Y >= value)``, value finite."""

    def log_beyond(self, lower: Tensor, upper: Tensor, is_below: Tensor) -> Tensor:
        """Return ``log P(Y <= lower)`` where ``is_below``, else ``log P(Y >= upper)``."""
        return torch.where(is_below, self.log_below(lower), self.log_above(upper))

    @abstractmethod
    def log_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return ``log P(low <= Y <= high)``; at most one of the two is infinite in a cell."""

    @abstractmethod
    def mean_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return ``E[Y | low <= Y <= high]``; at most one of the two is infinite in a cell."""


def log_difference(larger: Tensor, smaller: Tensor) -> Tensor:
    """Return ``log(exp(larger) - exp(smaller))``, also where the smaller one is -inf."""
    return larger + torch.log(-torch.expm1(smaller - larger))


def finite_or(value: Tensor, other: float | Tensor) -> Tensor:
    """Return a value with another one where it is infinite: no gradient passes through infinity."""
    return torch.where(value.isinf(), other, value)
