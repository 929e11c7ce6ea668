"""Counts that vary more than independent events do."""

from typing import Any

from torch import Tensor, nn

from ..arguments import checked_positive
from ..distributions.counts import NegativeBinomialCounts
from ..pieces import Entry
from .counts import Counts
from .noise_settings import by_column


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

    def learn_by_column(self, number: int) -> None:
        """Learn a dispersion for each column, if one is learned at all and it is one number."""
        if isinstance(self.log_dispersion, nn.Parameter):
            by_column(self, "log_dispersion", number)

    @property
    def dispersion(self) -> Tensor:
        """Squared coefficient of variation of the rate within a cell."""
        return self.log_dispersion.exp()

    def cells(self, log_mean: Tensor) -> Any:
        """Return independent negative binomial counts."""
        return NegativeBinomialCounts(log_mean, (-self.log_dispersion).exp())
