"""Counts of independent events."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..entry import Entry
from ..saddle_point import poisson_log_prob
from .counts import Counts, draw_poisson


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


class PoissonCounts(dist.Poisson):
    """Poisson counts by the logarithm of their mean, exact in float32 for small and large ones.

    Parameters
    ----------
    log_mean : Tensor
        Logarithm of the mean.
    """

    log_mean: Tensor

    def __init__(self, log_mean: Tensor, validate_args: bool | None = None) -> None:
        self.log_mean = log_mean
        super().__init__(log_mean.exp(), validate_args=validate_args)  # type: ignore[no-untyped-call]

    def expand(self, batch_shape: Any, _instance: Any = None) -> "PoissonCounts":
        """Return the same distribution with more batch dimensions."""
        return PoissonCounts(self.log_mean.expand(torch.Size(batch_shape)), self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of counts, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return poisson_log_prob(value, self.log_mean)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return counts as floating-point numbers."""
        return draw_poisson(self.rate.expand(self._extended_shape(torch.Size(sample_shape))))

    def information(self) -> list[tuple[Tensor, Tensor]]:
        """Return the log mean with the information about it, the mean."""
        return [(self.log_mean, self.rate)]
