"""Tails of the log-normal distribution."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from .base import Tails
from .symmetric import NormalTails


class LogNormalTails(Tails):
    """Those of the normal distribution of the logarithm."""

    inside = 1.0
    least = 0.0

    def __init__(self, cells: Any) -> None:
        super().__init__(cells)
        self._of_log = NormalTails(dist.Normal(cells.loc, cells.scale, validate_args=False))

    @property
    def spread(self) -> Tensor:
        """The median, times the scale of the logarithm."""
        spread: Tensor = self.cells.loc.exp() * self.cells.scale
        return spread

    def log_below(self, value: Tensor) -> Tensor:
        """Return ``log P(Y <= value)``, -inf up to 0."""
        below = self._of_log.log_below(_positive(value).log())
        return torch.where(value > 0, below, -torch.inf)

    def log_above(self, value: Tensor) -> Tensor:
        """Return ``log P(Y >= value)``."""
        above = self._of_log.log_above(_positive(value).log())
        return torch.where(value > 0, above, 0.0)

    def log_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return ``log P(low <= Y <= high)``."""
        return _log_between(self._of_log, low, high)

    def mean_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return ``E[Y | low <= Y <= high]``: weighted by y, the logarithm is normal again."""
        loc, scale = self.cells.loc, self.cells.scale
        weighted = NormalTails(dist.Normal(loc + scale**2, scale, validate_args=False))
        log_ratio = _log_between(weighted, low, high) - self.log_between(low, high)
        mean: Tensor = (loc + scale**2 / 2 + log_ratio).exp()
        return mean.clamp(low, high)


def _positive(value: Tensor) -> Tensor:
    return torch.where(value > 0, value, 1.0)


def _log_between(of_log: NormalTails, low: Tensor, high: Tensor) -> Tensor:
    start = torch.where(low > 0, _positive(low).log(), -torch.inf)
    # Nothing lies below 0: an interval that begins there and has no end is everything.
    whole = start.isinf() & high.isinf()
    between = of_log.log_between(start, torch.where(whole, 0.0, _positive(high).log()))
    return torch.where(whole, 0.0, torch.where(high > 0, between, -torch.inf))
