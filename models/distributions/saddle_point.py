"""Densities of counts that keep their precision when counts are large.

``y log λ - λ - lgamma(y + 1)`` is a small difference of terms as large as the count: in float32 and
at y = 10⁶ it is wrong by about a nat. Written as a deviance and a correction it is not.

References
----------
Loader, "Fast and accurate computation of binomial probabilities" (2000).
"""

import math

import torch
from torch import Tensor

SERIES_FROM = 16.0
"""Where Stirling's series, to its third term, is exact to 10⁻¹¹."""


def deviance(x: Tensor, log_ratio: Tensor) -> Tensor:
    """Return ``m - x - x log(m / x)``, half the deviance, from x and ``log(m / x)``."""
    return x * (torch.expm1(log_ratio) - log_ratio)


def stirling_error(x: Tensor) -> Tensor:
    """Return ``log x! - log(√(2πx) (x/e)ˣ)``, what Stirling's formula lacks, for x > 0."""
    small = x.clamp(max=SERIES_FROM)
    exact = torch.lgamma(small + 1) - (small + 0.5) * small.log() + small
    inverse = 1 / x.clamp(min=SERIES_FROM)
    square = inverse**2
    series = inverse * (1 / 12 - square * (1 / 360 - square / 1260))
    return torch.where(x < SERIES_FROM, exact - 0.5 * math.log(2 * math.pi), series)


def poisson_log_prob(count: Tensor, log_rate: Tensor) -> Tensor:
    """Return the Poisson log probability of counts, in nats."""
    positive = count.clamp(min=1)
    log_count = positive.log()
    constant = stirling_error(positive) + 0.5 * (log_count + math.log(2 * math.pi))
    of_positive = -deviance(positive, log_rate - log_count) - constant
    return torch.where(count > 0, of_positive, -log_rate.exp())


def negative_binomial_log_prob(count: Tensor, log_mean: Tensor, concentration: Tensor) -> Tensor:
    """Return the log probability of counts whose variance is ``m + m² / concentration``, in nats.

    Loader's form of the binomial holds for a number of failures that is no integer too.
    """
    positive = count.clamp(min=1)
    total = positive + concentration
    log_concentration, log_count, log_total = concentration.log(), positive.log(), total.log()
    log_spread = torch.logaddexp(log_concentration, log_mean)
    of_positive = (
        stirling_error(total)
        - stirling_error(concentration)
        - stirling_error(positive)
        - deviance(concentration, log_total - log_spread)
        - deviance(positive, log_total + log_mean - log_spread - log_count)
        + 0.5 * (log_concentration - log_count - log_total - math.log(2 * math.pi))
    )
    of_zero = -concentration * torch.nn.functional.softplus(log_mean - log_concentration)
    return torch.where(count > 0, of_positive, of_zero)
