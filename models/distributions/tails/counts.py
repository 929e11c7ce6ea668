"""Tails of families of counts."""

from abc import abstractmethod
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from .base import Tails, log_difference
from .incomplete_beta import log_incomplete_beta
from .incomplete_gamma import log_lower, log_upper


class CountTails(Tails):
    """A family of counts 0, 1, 2, ...; computed in float64.

    A limit that is not a whole number stands for the nearest count on the side that it allows.
    """

    is_discrete = True
    least = 0.0

    @abstractmethod
    def log_at_most(self, count: Tensor) -> Tensor:
        """Return ``log P(Y <= count)`` of counts from 0 on, in float64."""

    @abstractmethod
    def log_at_least(self, count: Tensor) -> Tensor:
        """Return ``log P(Y >= count)`` of counts from 1 on, in float64."""

    @abstractmethod
    def shifted(self) -> "CountTails":
        """Return the family q with ``y p(y) = E[Y] q(y - 1)``."""

    @property
    def spread(self) -> Tensor:
        """A little more than the standard deviation."""
        spread: Tensor = self.cells.variance.sqrt() + 1
        return spread

    def log_below(self, value: Tensor) -> Tensor:
        """Return ``log P(Y <= value)``, -inf below 0."""
        return self._below(value.double().floor()).to(self.cells.mean.dtype)

    def log_above(self, value: Tensor) -> Tensor:
        """Return ``log P(Y >= value)``."""
        return self._above(value.double().ceil()).to(self.cells.mean.dtype)

    def log_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return ``log P(low <= Y <= high)``, from the side of the mean that the middle is on."""
        return self._between(low.double().ceil(), high.double().floor()).to(self.cells.mean.dtype)

    def mean_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return ``E[Y | low <= Y <= high]``."""
        low, high = low.double().ceil(), high.double().floor()
        some = high >= 1
        start, stop = torch.where(some, low, 0.0), torch.where(some, high, 1.0)
        log_ratio = self.shifted()._between(start - 1, stop - 1) - self._between(start, stop)
        mean = torch.where(some, self.cells.mean * log_ratio.exp(), 0.0)
        return mean.clamp(low.clamp(min=0.0), high).to(self.cells.mean.dtype)

    def _between(self, low: Tensor, high: Tensor) -> Tensor:
        left = (low + high < 2 * self.cells.mean) & ~high.isinf()
        before, behind = low - 1, high + 1
        of_left = log_difference(
            self._below(torch.where(left, high, 0.0)),
            self._below(torch.where(left, before, -1.0)),
        )
        of_right = log_difference(
            self._above(torch.where(left, 0.0, low)),
            self._above(torch.where(left, torch.inf, behind)),
        )
        return torch.where(left, of_left, of_right)

    def _below(self, count: Tensor) -> Tensor:
        return torch.where(count < 0, -torch.inf, self.log_at_most(count.clamp(min=0.0)))

    def _above(self, count: Tensor) -> Tensor:
        usual = (count >= 1) & ~count.isinf()
        value = self.log_at_least(torch.where(usual, count, 1.0))
        return torch.where(usual, value, torch.where(count < 1, 0.0, -torch.inf))


class PoissonTails(CountTails):
    """Of the Poisson distribution, by the regularised incomplete gamma functions.

    Parameters
    ----------
    cells : Distribution
        With a mean and a variance.
    rate : Tensor
        Its rate.
    """

    def __init__(self, cells: Any, rate: Tensor) -> None:
        super().__init__(cells)
        self._rate = rate.double()

    def log_at_most(self, count: Tensor) -> Tensor:
        """Return ``log Q(count + 1, rate)``."""
        return log_upper(*torch.broadcast_tensors(count + 1, self._rate))

    def log_at_least(self, count: Tensor) -> Tensor:
        """Return ``log P(count, rate)``."""
        return log_lower(*torch.broadcast_tensors(count, self._rate))

    def shifted(self) -> CountTails:
        """Return the same."""
        return self


class NegativeBinomialTails(CountTails):
    """Of the negative binomial distribution, by the regularised incomplete beta function.

    Exact to eight digits where counts and ``total_count`` are below some thousands.

    Parameters
    ----------
    cells : Distribution
        With a mean and a variance.
    total_count, logits : Tensor
        As in ``pyro.distributions.NegativeBinomial``.
    """

    def __init__(self, cells: Any, total_count: Tensor, logits: Tensor) -> None:
        super().__init__(cells)
        self._total_count = total_count.double()
        self._logits = logits.double()

    def log_at_most(self, count: Tensor) -> Tensor:
        """Return ``log I_(1-p)(total_count, count + 1)``."""
        return self._log_incomplete_beta(self._total_count, count + 1, -1.0)

    def log_at_least(self, count: Tensor) -> Tensor:
        """Return ``log I_p(count, total_count)``."""
        return self._log_incomplete_beta(count, self._total_count, 1.0)

    def shifted(self) -> CountTails:
        """Return the family with one more failure."""
        more = dist.NegativeBinomial(
            self._total_count + 1, logits=self._logits, validate_args=False
        )
        return NegativeBinomialTails(more, self._total_count + 1, self._logits)

    def _log_incomplete_beta(self, a: Tensor, b: Tensor, sign: float) -> Tensor:
        log_x = torch.nn.functional.logsigmoid(sign * self._logits)
        log_rest = torch.nn.functional.logsigmoid(-sign * self._logits)
        return log_incomplete_beta(*torch.broadcast_tensors(a, b, log_x, log_rest))
