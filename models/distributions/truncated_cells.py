"""Independent cells restricted to an interval."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from .supports import Within, elementwise, expanded
from .tails import Tails, tails_of

MOST_STEPS = 64
"""Doublings and halvings of an interval in the search for a quantile."""


class TruncatedCells(dist.TorchDistribution):
    """Cells of a family given that they lie between limits, ``p(y) / P(low <= Y <= high)``.

    Parameters
    ----------
    cells : Distribution
        Batch shape (n, ...), no event shape, of a family that ``tails_of`` knows.
    low, high : Tensor, optional
        Limits that broadcast to the batch shape, at least one of them.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, cells: Any, low: Tensor | None, high: Tensor | None) -> None:
        self.cells = cells
        self.tails: Tails = tails_of(cells)
        shape = cells.batch_shape
        self.low, self.high = expanded(low, shape), expanded(high, shape)
        super().__init__(shape, validate_args=False)

    @constraints.dependent_property(event_dim=0)
    def support(self) -> Any:
        """Return what the family allows between the limits."""
        return Within(elementwise(self.cells.support), self.low, self.high)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "TruncatedCells":
        """Return the same distribution with more batch dimensions."""
        shape = torch.Size(batch_shape)
        return TruncatedCells(
            self.cells.expand(shape), expanded(self.low, shape), expanded(self.high, shape)
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, in nats; -inf outside."""
        inside = value.clamp(self.low, self.high)
        density = self.cells.log_prob(inside) - self._log_mass()
        return torch.where(value == inside, density, -torch.inf)

    @property
    def mean(self) -> Tensor:
        """Mean."""
        return self.tails.mean_between(*self._limits())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return draws by the inverse of the cumulative distribution, none on a limit.

        Of counts, those on a limit belong to the support and are drawn.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            low, high = self._limits()
            uniform = torch.rand(shape, dtype=low.dtype, device=low.device)
            drawn = self._quantile(uniform.clamp(min=torch.finfo(low.dtype).tiny))
            if self.tails.is_discrete:
                return drawn.floor()
            inner = (torch.nextafter(low, high), torch.nextafter(high, low))
            return drawn.clamp(*inner)

    def _limits(self) -> tuple[Tensor, Tensor]:
        """Return both limits, infinite where there is none."""
        some = self.low if self.low is not None else self.high
        assert some is not None
        low = torch.full_like(some, -torch.inf) if self.low is None else self.low
        low = low.clamp(min=self.tails.least)
        high = torch.full_like(some, torch.inf) if self.high is None else self.high
        return low, high

    def _log_mass(self) -> Tensor:
        if self.low is None:
            assert self.high is not None
            return self.tails.log_below(self.high)
        if self.high is None:
            return self.tails.log_above(self.low)
        return self.tails.log_between(self.low, self.high)

    def _quantile(self, probability: Tensor) -> Tensor:
        """Return the least y with at least a probability (..., n, ...) between ``low`` and y."""
        low, high = self._limits()
        target = probability.log() + self._log_mass()
        spread = self.tails.spread
        # A whole number is what lies in (start, stop] when that is shorter than 1.
        before = low - 1 if self.tails.is_discrete else low
        start = torch.where(low.isinf(), high - spread, before).expand_as(target)
        stop = torch.where(high.isinf(), low + spread, high).expand_as(target)
        # An end that is not given is moved out until the quantile lies before it.
        for _ in range(MOST_STEPS):
            early = low.isinf() & (self.tails.log_between(low, start) >= target)
            late = high.isinf() & (self.tails.log_between(low, stop) < target)
            if not bool((early | late).any()):
                break
            width = stop - start
            start, stop = torch.where(early, start - width, start), stop + width * late
        for _ in range(MOST_STEPS):
            middle = (start + stop) / 2
            reached = self.tails.log_between(low, middle) >= target
            start, stop = torch.where(reached, start, middle), torch.where(reached, middle, stop)
            largest = torch.maximum(start.abs(), stop.abs())
            least = 0.5 if self.tails.is_discrete else torch.finfo(stop.dtype).eps * largest
            if not bool((stop - start > least).any()):
                break
        return stop
