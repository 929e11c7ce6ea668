"""Running mean and variance of something computed from every draw, without keeping the draws."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Mean and variance so far.

    Attributes
    ----------
    mean : Tensor
        Of the values' shape.
    squares : Tensor
        Sum of squared deviations from the mean.
    num_values : int
        Number of values.
    """

    mean: Tensor
    squares: Tensor
    num_values: int

    @property
    def variance(self) -> Tensor:
        """Unbiased variance; NaN for a single value."""
        if self.num_values < 2:
            return torch.full_like(self.mean, torch.nan)
        return self.squares / (self.num_values - 1)


def moments_to_dict(moments: Mapping[str, Moments]) -> dict[str, dict[str, Any]]:
    """Return named moments as plain dicts, for a checkpoint."""
    return {name: value._asdict() for name, value in moments.items()}


def moments_from_dict(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Moments]:
    """Return the moments of :func:`moments_to_dict`."""
    return {name: Moments(**value) for name, value in content.items()}


def merge(moments: Moments | None, values: Tensor) -> Moments:
    """Return the moments with a batch of values, (k, ...), added.

    References
    ----------
    Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979): stable where a sum of squares cancels.
    """
    values = values.detach()
    count = values.shape[0]
    mean = values.mean(0)
    squares = ((values - mean) ** 2).sum(0)
    if moments is None:
        return Moments(mean, squares, count)
    total = moments.num_values + count
    shift = mean - moments.mean
    return Moments(
        moments.mean + shift * (count / total),
        moments.squares + squares + shift**2 * (moments.num_values * count / total),
        total,
    )
