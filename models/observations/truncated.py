"""Values that are bounded."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor

from ..distributions.truncated_cells import TruncatedCells
from ..pieces import Entry
from .base import Context, Observation, factorised
from .limits import as_limit, cells_of, check_base, check_broadcasts, check_order
from .wrapper import Wrapper


class Truncated(Wrapper):
    """The base's distribution given that y lies between limits, ``p(y) / P(low <= y <= high)``.

    For values that cannot lie elsewhere (shares, percentages, counts of at least one). Where values
    do lie elsewhere but were not recorded, see :class:`Censored`. ``reconstruct`` gives the mean
    between the limits, ``decode`` the base's signal, which may lie beyond them.

    Parameters
    ----------
    base : Observation or callable
        Of independent cells of a family with known tails: normal, Laplace, logistic, Student t,
        log-normal, Poisson, negative binomial. Measurements through an operator are
        ``Truncated(Sensed(...))``, missing ones ``Masked(Truncated(...))``.
    low, high : float or Tensor, optional
        Smallest and largest value, at least one of them; a tensor has to broadcast to one example's
        data.

    Raises
    ------
    TypeError
        If the base is another wrapper than Sensed, or learns in closed form.
    ValueError
        If there is no limit, one is not finite, or ``low`` is not smaller than ``high``.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import Gaussian, Truncated
    >>> Truncated(Gaussian(1.0), 0.0, 2.0).reconstruct(torch.zeros(1, 1))
    tensor([[0.7228]])

    References
    ----------
    Johnson, Kotz & Balakrishnan, "Continuous Univariate Distributions" (1994), section 13.10.1.
    """

    entry = Entry(
        "p(y | output) / P(low <= y <= high | output)",
        "Johnson, Kotz & Balakrishnan (1994)",
        "Truncated(Gaussian(0.3), 0.0, 1.0)",
    )

    low: Tensor | None
    high: Tensor | None

    def __init__(
        self,
        base: Observation | Callable[[Tensor], dist.TorchDistribution],
        low: float | Tensor | None = None,
        high: float | Tensor | None = None,
    ) -> None:
        super().__init__(base)
        check_base(self.base, "Truncated")
        if low is None and high is None:
            raise ValueError("low and high are both None: give at least one limit")
        self.register_buffer("low", as_limit("low", low))
        self.register_buffer("high", as_limit("high", high))
        check_order(("low", "high"), self.low, self.high)
        self.fill_value = _inside(self.low, self.high)

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent cells between the limits."""
        cells = cells_of(self.base, output, context)
        low, high = (None if limit is None else limit.to(output) for limit in (self.low, self.high))
        return factorised(TruncatedCells(cells, low, high), mask)

    def check(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Raise ValueError for limits that do not fit y; values are checked by the support."""
        check_broadcasts("low", self.low, y.shape[1:])
        check_broadcasts("high", self.high, y.shape[1:])


def _inside(low: Tensor | None, high: Tensor | None) -> float:
    """Return a number between the limits of every cell (if there is one), whole where it can be."""
    start = None if low is None else float(low.max())
    stop = None if high is None else float(high.min())
    if start is None:
        assert stop is not None
        return float(torch.tensor(stop).floor())
    if stop is None:
        return float(torch.tensor(start).ceil())
    middle = (start + stop) / 2
    whole = float(round(middle))
    return whole if start <= whole <= stop else middle
