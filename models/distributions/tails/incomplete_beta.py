"""The regularised incomplete beta function, which torch lacks, in logarithms."""

import torch
from torch import Tensor


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    """Return ``log B(a, b)``."""
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def continued_fraction(a: Tensor, b: Tensor, x: Tensor, num_steps: int) -> Tensor:
    """Return F in ``I_x(a, b) = x^a (1 - x)^b F / (a B(a, b))``, for ``x < (a + 1) / (a + b + 2)``.

    With b = 1/2 or a = 1/2, 20 steps give eight digits for any size of the other; with both large,
    40 steps do up to some thousands.

    References
    ----------
    NIST Digital Library of Mathematical Functions, 8.17.22, evaluated by the modified Lentz
    algorithm.
    """
    tiny = torch.finfo(x.dtype).tiny ** 0.5
    numerator = torch.ones_like(x)
    denominator = 1 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    fraction = denominator
    for step in range(1, num_steps + 1):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for coefficient in (even, odd):
            denominator = 1 / _away_from_zero(1 + coefficient * denominator, tiny)
            numerator = _away_from_zero(1 + coefficient / numerator, tiny)
            fraction = fraction * numerator * denominator
    return fraction


def log_incomplete_beta(a: Tensor, b: Tensor, log_x: Tensor, log_rest: Tensor) -> Tensor:
    """Return ``log I_x(a, b)``, given the logarithms of x and of 1 - x."""
    x, rest = log_x.exp(), log_rest.exp()
    turned = x > (a + 1) / (a + b + 2)
    first, second = torch.where(turned, b, a), torch.where(turned, a, b)
    fraction = continued_fraction(first, second, torch.where(turned, rest, x), 40)
    value = a * log_x + b * log_rest - first.log() - log_beta(a, b) + fraction.log()
    # Where it is turned, the value is that of the complement, and not near 1.
    complement = torch.log1p(-torch.where(turned, value, -1.0).exp())
    return torch.where(turned, complement, value)


def _away_from_zero(value: Tensor, tiny: float) -> Tensor:
    return torch.where(value.abs() < tiny, tiny, value)
