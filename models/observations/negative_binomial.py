"""Counts that vary more than independent events do."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ..arguments import checked_positive
from ..entry import Entry
from ..saddle_point import negative_binomial_log_prob
from .counts import Counts, draw_poisson


class NegativeBinomial(Counts):
    """Independent overdispersed counts of mean ``m = exposure * exp(output)`` in each cell.

    Their variance is ``m + dispersion * m²``: a Poisson count whose rate varies by a Gamma of mean
    1 and variance ``dispersion``. The exposure is ``context["exposure"]``, 1 by default: see
    :class:`Counts`. :meth:`signal` is the rate, :meth:`reconstruct` the mean.

    Parameters
    ----------
    dispersion : float or Tensor, default 1
        Positive; towards 0 it is the Poisson distribution. A tensor has to broadcast to one
        example's data (one for each column: shape (columns,)).
    learn_dispersion : bool, default False
        Learn it with the network, by its gradient.

    Raises
    ------
    ValueError
        If ``dispersion`` is not positive and finite, or ``learn_dispersion`` is not a boolean.

    References
    ----------
    Cameron & Trivedi, "Econometric models based on count data" (1986): their model NB2.
    """

    entry = Entry(
        'y ~ NegativeBinomial(mean = context["exposure"] exp(output), dispersion)',
        "Cameron & Trivedi (1986), NB2",
        "NegativeBinomial(0.5)",
    )

    log_dispersion: Tensor

    def __init__(self, dispersion: float | Tensor = 1.0, learn_dispersion: bool = False) -> None:
        super().__init__()
        value = checked_positive("dispersion", dispersion)
        if not isinstance(learn_dispersion, bool):
            raise ValueError(f"learn_dispersion must be True or False, got {learn_dispersion!r}")
        if learn_dispersion:
            self.log_dispersion = nn.Parameter(value.log())
        else:
            self.register_buffer("log_dispersion", value.log())

    @property
    def dispersion(self) -> Tensor:
        """Squared coefficient of variation of the rate within a cell."""
        return self.log_dispersion.exp()

    def cells(self, log_mean: Tensor) -> Any:
        """Return independent negative binomial counts."""
        return NegativeBinomialCounts(log_mean, (-self.log_dispersion).exp())


class NegativeBinomialCounts(dist.NegativeBinomial):  # type: ignore[misc]  # Pyro makes it at import
    """Negative binomial counts by the logarithm of their mean m, of variance ``m + m²/r``.

    Parameters
    ----------
    log_mean : Tensor
        Logarithm of the mean.
    concentration : Tensor
        r, of the Gamma that the rate is drawn from; it broadcasts with ``log_mean``.
    """

    log_mean: Tensor
    total_count: Tensor

    def __init__(
        self, log_mean: Tensor, concentration: Tensor, validate_args: bool | None = None
    ) -> None:
        self.log_mean, concentration = torch.broadcast_tensors(log_mean, concentration)
        logits = self.log_mean - concentration.log()
        super().__init__(concentration, logits=logits, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "NegativeBinomialCounts":
        """Return the same distribution with more batch dimensions."""
        shape = torch.Size(batch_shape)
        return NegativeBinomialCounts(
            self.log_mean.expand(shape), self.total_count.expand(shape), self._validate_args
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of counts, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return negative_binomial_log_prob(value, self.log_mean, self.total_count)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return counts as floating-point numbers."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            varied = dist.Gamma(self.total_count, self.total_count).expand(shape).sample()
        return draw_poisson(self.log_mean.exp() * varied)

    def information(self) -> list[tuple[Tensor, Tensor]]:
        """Return the log mean with the information about it."""
        mean = self.log_mean.exp()
        return [(self.log_mean, mean / (1 + mean / self.total_count))]
