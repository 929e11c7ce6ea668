"""Counts by the logarithm of their mean, exact in float32 for small and large ones."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from .saddle_point import negative_binomial_log_prob, poisson_log_prob

MOST_DRAWN = 1e18
"""Largest mean that counts are drawn from: torch draws them as 64-bit integers."""


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


def draw_poisson(mean: Tensor) -> Tensor:
    """Return Poisson counts, as floating-point numbers."""
    with torch.no_grad():
        return torch.poisson(mean.clamp(max=MOST_DRAWN))
