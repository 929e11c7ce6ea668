"""Values known only to lie beyond a limit."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor

from ..arguments import first_place
from ..distributions.censored_cells import CensoredCells
from ..pieces import Entry
from .base import Context, Observation, factorised
from .hidden_cells import draw_hidden
from .limits import as_limit, cells_of, check_base, check_broadcasts, check_order
from .wrapper import Wrapper

KEYS = ("lower", "upper")
"""Of the limits of single cells in a context."""


class Censored(Wrapper):
    """Cells known only to lie below, above or between limits, by the base's probability of that.

    Detection limits, saturated pixels, top-coded incomes. Fixed limits are those of the instrument:
    a value at or below ``lower`` says only that ``y <= lower``, one at or above ``upper`` only that
    ``y >= upper``.

    Limits of single cells are given in ``context["lower"]`` and ``context["upper"]``, either or
    both of y's shape, NaN where a cell has none. A cell with such a limit is known by it alone: it
    wins over the fixed limits, over what stands in y, and over a mask. There y may hold any
    allowed number, or NaN under ``Masked``; a cell with neither value nor limit is missing. To hide
    a cell from the model, hide its limits too.

    ``reconstruct`` gives the mean of what was to be measured, without limits; ``complete`` keeps
    exact values and puts the conditional mean within their limits for the others. Draws are
    recorded as the fixed limits where they lie beyond them; limits of single cells do not change
    draws.

    Parameters
    ----------
    base : Observation or callable
        Of independent cells of a family with known tails: normal, Laplace, logistic, Student t,
        log-normal, Poisson, negative binomial. Measurements through an operator are
        ``Censored(Sensed(...))``, missing ones ``Masked(Censored(...))``.
    lower, upper : float or Tensor, optional
        Fixed limits; a tensor has to broadcast to one example's data.

    Raises
    ------
    TypeError
        If the base is another wrapper than Sensed, or learns in closed form.
    ValueError
        If a limit is not finite, or ``lower`` is not smaller than ``upper``.

    References
    ----------
    Tobin, "Estimation of relationships for limited dependent variables" (1958).

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import Censored, Gaussian
    >>> saturated = Censored(Gaussian(1.0), upper=2.0).distribution(torch.zeros(1, 2))
    >>> saturated.log_prob(torch.tensor([[0.0, 2.0]]))  # log N(0; 0, 1) + log P(Y >= 2)
    tensor([-4.7021])
    """

    entry = Entry(
        "p(y | output); beyond a limit, the probability of lying there",
        "Tobin (1958)",
        "Censored(Gaussian(0.3), upper=255.0)",
    )

    lower: Tensor | None
    upper: Tensor | None

    def __init__(
        self,
        base: Observation | Callable[[Tensor], dist.TorchDistribution],
        lower: float | Tensor | None = None,
        upper: float | Tensor | None = None,
    ) -> None:
        super().__init__(base)
        check_base(self.base, "Censored")
        self.register_buffer("lower", as_limit("lower", lower))
        self.register_buffer("upper", as_limit("upper", upper))
        check_order(KEYS, self.lower, self.upper)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the base's estimate of what was to be measured."""
        return self.base.reconstruct(output, context)

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return the distribution of what is recorded, independent cells.

        Parameters
        ----------
        output
            As in :meth:`Observation.distribution`.
        mask : bool Tensor, optional
            True where y holds a value; a cell with a limit of its own is known without one.
        context : mapping of Tensor, optional
            May hold ``"lower"`` and ``"upper"``, of y's shape.
        """
        made = self._cells(output, context)
        if mask is not None:
            mask = mask | made.has_interval
        return factorised(made, mask)

    def complete(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y, limited cells as conditional means, hidden ones as the base estimates them."""
        made = self._cells(output, context)
        known = made.complete(y)
        if mask is None:
            return known
        return torch.where(mask | made.has_interval, known, self.reconstruct(output, context))

    def impute(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y, limited cells drawn within their limits, hidden ones from the base.

        What is drawn is what was to be measured: values beyond the instrument's limits too.
        """
        made = self._cells(output, context)
        known = made.draw_given(y)
        if mask is None:
            return known
        seen = mask | made.has_interval
        return draw_hidden(factorised(made.cells, None), known, seen, type(self).__name__)

    def check(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Raise ValueError for limits that do not fit y or each other."""
        check_broadcasts("lower", self.lower, y.shape[1:])
        check_broadcasts("upper", self.upper, y.shape[1:])
        given = {key: context[key] for key in KEYS if context is not None and key in context}
        for key, limit in given.items():
            if limit.shape != y.shape:
                raise ValueError(
                    f"context[{key!r}] must have the shape of y, {tuple(y.shape)}, got "
                    f"{tuple(limit.shape)}"
                )
            if bool(limit.isinf().any()):
                raise ValueError(
                    f"context[{key!r}]{list(first_place(limit.isinf()))} must be a number, or NaN "
                    "where there is no limit, got an infinity"
                )
        names = ("context['lower']", "context['upper']")
        check_order(names, given.get("lower"), given.get("upper"))

    def _cells(self, output: Tensor, context: Context | None) -> CensoredCells:
        cells = cells_of(self.base, output, context)
        lower, upper = (
            None if limit is None else limit.to(output) for limit in (self.lower, self.upper)
        )
        return CensoredCells(cells, lower, upper, _interval(context, output))


def _interval(context: Context | None, output: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the limits of single cells, infinite where there is none."""
    if context is None or not any(key in context for key in KEYS):
        return None
    given = [context[key].to(output.dtype) for key in KEYS if key in context]
    none = torch.full_like(given[0], torch.nan)
    low, high = (context[key].to(output.dtype) if key in context else none for key in KEYS)
    return (
        torch.where(low.isnan(), -torch.inf, low),
        torch.where(high.isnan(), torch.inf, high),
    )
