"""Kriging of videos: the best linear prediction under a stationary covariance in space and time."""

from typing import NamedTuple

import torch
from torch import Tensor

AXES = (-3, -2, -1)


class StationaryCovariance(NamedTuple):
    """A covariance of lags in time, height and width, as its spectrum on a padded grid.

    Attributes
    ----------
    spectrum : Tensor, (T', h', w' // 2 + 1)
        Of the covariance, not negative.
    grid : tuple of int
        ``(T', h', w')``.
    nugget : float
        Variance of what is white beside it.
    """

    spectrum: Tensor
    grid: tuple[int, ...]
    nugget: float


def fit_covariance(
    fields: Tensor, length: int, reach: tuple[int, int, int] = (6, 12, 12), nugget: float = 0.02
) -> StationaryCovariance:
    """Estimate the covariance of fields of mean zero from the cells that were seen.

    Parameters
    ----------
    fields : Tensor, (n, T, h, w)
        Fields with one covariance, such as colours; NaN where missing.
    length : int
        Frames of the fields that will be predicted.
    reach : tuple of int
        Lags in time, height and width from which on the covariance is zero: the products of pairs
        of cells are tapered linearly to there.
    nugget : float, default 0.02
        Share of the variance that is white.

    Raises
    ------
    ValueError
        If ``nugget`` does not lie between 0 and 1, or no cell was seen.

    References
    ----------
    Cressie, "Statistics for Spatial Data" (1993), section 3.2, for kriging with a known mean;
    Furrer, Genton & Nychka, "Covariance tapering for interpolation of large spatial datasets"
    (2006).
    """
    if not 0 < nugget < 1:
        raise ValueError(f"nugget must lie between 0 and 1, got {nugget}")
    seen = ~fields.isnan()
    if not bool(seen.any()):
        raise ValueError("fields must have cells that were seen, got none")
    padded = [size + most for size, most in zip(fields.shape[1:], reach, strict=True)]
    pairs, products = (
        torch.fft.irfftn(torch.fft.rfftn(values, padded, AXES).abs().square().sum(0), padded, AXES)
        for values in (seen.to(fields.dtype), fields.nan_to_num())
    )
    lags = _known_at_all_times(products, pairs)
    variance = float(lags[0, 0, 0])
    grid = (length + reach[0], *padded[1:])
    kept = torch.zeros(grid, dtype=fields.dtype)
    ranges = [torch.arange(1 - most, most) for most in reach]
    where = torch.meshgrid(*ranges, indexing="ij")
    taper = torch.ones((), dtype=fields.dtype)
    for lag, most in zip(where, reach, strict=True):
        taper = taper * (1 - lag.abs() / most)
    source = tuple(lag % size for lag, size in zip(where, padded, strict=True))
    target = tuple(lag % size for lag, size in zip(where, grid, strict=True))
    kept[target] = lags[source] * taper * (1 - nugget)
    spectrum = torch.fft.rfftn(kept, dim=AXES).real.clamp(min=0)
    return StationaryCovariance(spectrum, grid, nugget * variance)


def draw_fields(
    covariance: StationaryCovariance, shape: tuple[int, int, int, int], seed: int
) -> Tensor:
    """Return Gaussian fields of mean zero, (n, T, h, w), with this covariance and its white part.

    Parameters
    ----------
    covariance : StationaryCovariance
        Of each.
    shape : tuple of int
        (n, T, h, w), within the covariance's grid.
    seed : int
        Reproduces them.
    """
    generator = torch.Generator().manual_seed(seed)
    count, length, height, width = shape
    white = torch.randn(count, *covariance.grid, generator=generator)
    coloured = torch.fft.irfftn(
        torch.fft.rfftn(white, dim=AXES) * covariance.spectrum.sqrt(), covariance.grid, AXES
    )[:, :length, :height, :width]
    white = torch.randn(coloured.shape, generator=generator)
    drawn: Tensor = coloured + covariance.nugget**0.5 * white
    return drawn


def _known_at_all_times(products: Tensor, pairs: Tensor) -> Tensor:
    """Return mean products by lag; lags in time that no pair has are between those around them."""
    lags = products / pairs.clamp(min=0.5)
    known = (pairs[:, 0, 0] > 0.5).tolist()
    there = [lag for lag, has in enumerate(known[: len(known) // 2]) if has]
    for lag in range(there[-1]):
        if not known[lag]:
            below, above = max(t for t in there if t < lag), min(t for t in there if t > lag)
            # The lag against time is the same one, seen from the other end.
            for one, first, second in ((lag, below, above), (-lag, -below, -above)):
                lags[one] = torch.lerp(lags[first], lags[second], (lag - below) / (above - below))
    return lags


def krige(
    fields: Tensor, covariance: StationaryCovariance, iterations: int = 100, tolerance: float = 1e-3
) -> Tensor:
    """Return the best linear prediction of every cell from those that were seen.

    Parameters
    ----------
    fields : Tensor, (n, T, h, w)
        Of mean zero, NaN where missing; T as the covariance was made for.
    covariance : StationaryCovariance
        Of each.
    iterations : int, default 100
        Most steps of conjugate gradients.
    tolerance : float, default 1e-3
        Residual of the normal equations, relative to the fields, at which they end.

    Returns
    -------
    Tensor
        (n, T, h, w): of what the covariance says, without its white part, also where cells were
        seen.

    Raises
    ------
    ValueError
        If the fields are larger than the covariance's grid.
    """
    if any(size > most for size, most in zip(fields.shape[1:], covariance.grid, strict=True)):
        raise ValueError(f"fields must fit into {covariance.grid}, got shape {tuple(fields.shape)}")
    seen = (~fields.isnan()).to(fields.dtype)
    target = fields.nan_to_num()
    length, height, width = fields.shape[1:]

    def smoothed(values: Tensor) -> Tensor:
        transformed = torch.fft.rfftn(values, covariance.grid, AXES) * covariance.spectrum
        whole = torch.fft.irfftn(transformed, covariance.grid, AXES)
        kept: Tensor = whole[:, :length, :height, :width]
        return kept

    weights = torch.zeros_like(target)
    rest = target.clone()
    direction, square = rest, rest.square().sum()
    least = tolerance**2 * square
    for _ in range(iterations):
        if square <= least:
            break
        image = seen * smoothed(direction) + covariance.nugget * direction
        step = square / (direction * image).sum()
        weights, rest = weights + step * direction, rest - step * image
        before, square = square, rest.square().sum()
        direction = rest + square / before * direction
    predicted: Tensor = smoothed(weights)
    return predicted
