"""Counts of independent events."""

from typing import Any

from torch import Tensor

from ..distributions.counts import PoissonCounts
from ..pieces import Entry
from .counts import Counts


class Poisson(Counts):
    """Independent counts, ``y ~ Poisson(exposure * exp(output))`` in each cell.

    The exposure is ``context["exposure"]``, 1 by default: see :class:`Counts`. :meth:`signal` is
    the rate, :meth:`reconstruct` the mean, exposure times rate.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import Poisson
    >>> hours = {"exposure": torch.tensor([1.0, 10.0])}
    >>> Poisson().reconstruct(torch.zeros(2, 3), hours)
    tensor([[ 1.,  1.,  1.],
            [10., 10., 10.]])
    """

    entry = Entry(
        'y ~ Poisson(context["exposure"] exp(output))', "Nelder & Wedderburn (1972)", "Poisson()"
    )

    def cells(self, log_mean: Tensor) -> Any:
        """Return independent Poisson counts."""
        return PoissonCounts(log_mean)
