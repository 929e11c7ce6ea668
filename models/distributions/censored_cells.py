"""Independent cells of which some are known only by limits."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from .supports import OrBeyond, elementwise, expanded
from .tails import Tails, tails_of
from .truncated_cells import TruncatedCells


class CensoredCells(dist.TorchDistribution):
    """Cells of a family seen through limits: beyond them only the side is known.

    A value at or below ``lower`` has the log probability ``log P(Y <= lower)``, one at or above
    ``upper`` has ``log P(Y >= upper)``. A cell with an interval has ``log P(low <= Y <= high)``,
    whatever value is given. Draws are recorded as ``lower`` or ``upper`` where they lie beyond;
    intervals, which tell of one value only, do not change them.

    Parameters
    ----------
    cells : Distribution
        Batch shape (n, ...), no event shape, of a family that ``tails_of`` knows.
    lower, upper : Tensor, optional
        Limits that broadcast to the batch shape.
    interval : pair of Tensor, optional
        Limits of single cells, (n, ...) each, infinite where there is none.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(
        self,
        cells: Any,
        lower: Tensor | None = None,
        upper: Tensor | None = None,
        interval: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.cells = cells
        self.tails: Tails = tails_of(cells)
        shape = cells.batch_shape
        self.lower, self.upper = expanded(lower, shape), expanded(upper, shape)
        self.interval = interval
        super().__init__(shape, validate_args=False)

    @constraints.dependent_property(event_dim=0)
    def support(self) -> Any:
        """Return what the family allows, and anything beyond the limits."""
        support = elementwise(self.cells.support)
        if support is constraints.real:
            return support
        return OrBeyond(support, self.lower, self.upper)

    @property
    def has_interval(self) -> Tensor:
        """Which cells have an interval, (n, ...)."""
        if self.interval is None:
            return torch.zeros(self.batch_shape, dtype=torch.bool, device=self.cells.mean.device)
        return _has_limit(*self.interval)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "CensoredCells":
        """Return the same distribution with more batch dimensions."""
        shape = torch.Size(batch_shape)
        interval = self.interval and (
            self.interval[0].expand(shape),
            self.interval[1].expand(shape),
        )
        return CensoredCells(
            self.cells.expand(shape),
            expanded(self.lower, shape),
            expanded(self.upper, shape),
            interval,
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of exact cells and the log probability of the others, in nats."""
        parts: list[tuple[Tensor, Tensor]] = []
        if self.lower is not None and self.upper is not None:
            below = value <= self.lower
            log_mass = self.tails.log_beyond(self.lower, self.upper, below)
            parts.append((below | (value >= self.upper), log_mass))
        elif self.lower is not None:
            parts.append((value <= self.lower, self.tails.log_below(self.lower)))
        elif self.upper is not None:
            parts.append((value >= self.upper, self.tails.log_above(self.upper)))
        if self.interval is not None:
            low, high = self.interval
            known = self.has_interval
            # Cells without a limit need one that does no harm.
            log_mass = self.tails.log_between(
                torch.where(known, low, -torch.inf), torch.where(known, high, 1.0)
            )
            parts.append((known, log_mass))
        exact = value
        for limited, _ in parts:
            exact = torch.where(limited, self.tails.inside, exact)
        total: Tensor = self.cells.log_prob(exact)
        for limited, log_mass in parts:
            total = torch.where(limited, log_mass, total)
        return total

    @property
    def mean(self) -> Tensor:
        """Mean of what is recorded."""
        uncensored: Tensor = self.cells.mean
        if self.lower is None and self.upper is None:
            return uncensored
        total, exact_mass = torch.zeros_like(uncensored), torch.ones_like(uncensored)
        low, high = torch.full_like(total, -torch.inf), torch.full_like(total, torch.inf)
        if self.lower is not None:
            mass = self.tails.log_below(self.lower).exp()
            total, exact_mass = total + mass * self.lower, exact_mass - mass
            low = self.lower.floor() + 1 if self.tails.is_discrete else self.lower
        if self.upper is not None:
            mass = self.tails.log_above(self.upper).exp()
            total, exact_mass = total + mass * self.upper, exact_mass - mass
            high = self.upper.ceil() - 1 if self.tails.is_discrete else self.upper
        return total + exact_mass * self.tails.mean_between(low, high)

    def complete(self, value: Tensor) -> Tensor:
        """Return exact values as they are, others as the conditional mean within their limits."""
        low, high = self._known_limits(value)
        limited = _has_limit(low, high)
        mean = self.tails.mean_between(low, torch.where(limited, high, 1.0))
        return torch.where(limited, mean, value)

    def draw_given(self, value: Tensor) -> Tensor:
        """Return exact values as they are, others drawn within their limits."""
        low, high = self._known_limits(value)
        limited = _has_limit(low, high)
        # Cells without a limit need one that does no harm.
        within = TruncatedCells(self.cells, low, torch.where(limited, high, 1.0))
        return torch.where(limited, within.sample(), value)

    def _known_limits(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return between which limits each cell is known to lie, infinite where by none."""
        low, high = torch.full_like(value, -torch.inf), torch.full_like(value, torch.inf)
        if self.lower is not None:
            high = torch.where(value <= self.lower, self.lower, high)
        if self.upper is not None:
            low = torch.where(value >= self.upper, self.upper, low)
        if self.interval is not None:
            known = self.has_interval
            low = torch.where(known, self.interval[0], low)
            high = torch.where(known, self.interval[1], high)
        return low, high

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return values as they would be recorded."""
        drawn: Tensor = self.cells.sample(torch.Size(sample_shape))
        if self.lower is not None:
            drawn = drawn.maximum(self.lower)
        if self.upper is not None:
            drawn = drawn.minimum(self.upper)
        return drawn


def _has_limit(low: Tensor, high: Tensor) -> Tensor:
    return ~(low.isinf() & high.isinf())
