"""The regularised incomplete gamma functions in logarithms, also where they underflow."""

import torch
from torch import Tensor

TERMS = 60
"""Of the series and of the continued fraction, which serve only far out in the tails."""


def log_upper(a: Tensor, x: Tensor) -> Tensor:
    """Return ``log Q(a, x)``, the probability of less than a events at a mean of x.

    Parameters
    ----------
    a, x : Tensor
        At least 1, and not negative; in float64. There is no gradient in a.

    References
    ----------
    NIST Digital Library of Mathematical Functions, 8.9.2, by the modified Lentz algorithm.
    """
    value = torch.special.gammaincc(a, x)
    far = value < _smallest(x)
    x = torch.where(far, x, 2 * a + 50)
    term = x + 1 - a
    numerator = torch.full_like(x, 1 / _smallest(x))
    denominator = 1 / term
    fraction = denominator
    for step in range(1, TERMS):
        factor = -step * (step - a)
        term = term + 2
        denominator = 1 / (factor * denominator + term)
        numerator = term + factor / numerator
        fraction = fraction * numerator * denominator
    tail = a * x.log() - x - torch.lgamma(a) + fraction.log()
    return torch.where(far, tail, torch.where(far, 0.5, value).log())


def log_lower(a: Tensor, x: Tensor) -> Tensor:
    """Return ``log P(a, x)``, the probability of at least a events at a mean of x.

    Parameters
    ----------
    a, x : Tensor
        As in :func:`log_upper`.

    References
    ----------
    NIST Digital Library of Mathematical Functions, 8.11.4.
    """
    value = torch.special.gammainc(a, x)
    far = value < _smallest(x)
    x = torch.where(far, x, a / 2).clamp(min=_smallest(x))
    term = series = torch.ones_like(x)
    for step in range(1, TERMS):
        term = term * x / (a + step)
        series = series + term
    tail = a * x.log() - x - torch.lgamma(a + 1) + series.log()
    return torch.where(far, tail, torch.where(far, 0.5, value).log())


def _smallest(x: Tensor) -> float:
    return torch.finfo(x.dtype).tiny * 1e8
