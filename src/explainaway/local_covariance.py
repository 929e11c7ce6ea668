"""A covariance of its own at each place of an image, learned from images with holes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .gaussian_fields import GaussianField
from .models import ColoredGaussian


def stationary_matrix(noise: ColoredGaussian) -> Tensor:
    """Return the covariance (h w, h w) of the cells of stationary noise, row by row."""
    rows, columns = _places(noise.shape)
    made: Tensor = noise.autocovariance[rows[:, None] - rows, columns[:, None] - columns]
    return made


def second_moments(images: Tensor, mirror: bool = True) -> Tensor:
    """Return the mean products (h w, h w) of cells, over images and channels.

    Parameters
    ----------
    images : Tensor, (n, c, h, w)
        Of mean zero.
    mirror : bool, default True
        Whether each image counts as its mirror image too.
    """
    flat = images.flatten(0, 1).flatten(1)
    moments: Tensor = flat.mT @ flat / len(flat)
    if not mirror:
        return moments
    order = torch.arange(flat.shape[1]).reshape(images.shape[2:]).flip(-1).flatten()
    return (moments + moments[order][:, order]) / 2


def localised(
    moments: Tensor, stationary: Tensor, side: int, reach: float, weight: float
) -> Tensor:
    """Return sample moments, tapered by distance, blended with a stationary covariance.

    A few thousand images tell the covariance of neighbours at each place, but far lags only
    roughly: the taper takes their noise away, and the stationary part keeps the whole definite.

    Parameters
    ----------
    moments : Tensor, (cells, cells)
        Of images; positive semidefinite, and so is the result.
    stationary : Tensor, (cells, cells)
        The same at each place; positive definite.
    side : int
        Cells in a row.
    reach : float
        Distance in cells from which on the moments count nothing (a spherical taper).
    weight : float
        Of the moments, from 0 (kriging with the stationary covariance) to less than 1.

    Raises
    ------
    ValueError
        If ``reach`` is not positive or ``weight`` is not in [0, 1).

    References
    ----------
    Hamill & Snyder, "A hybrid ensemble Kalman filter-3D variational analysis scheme" (2000), for
    the blend; Houtekamer & Mitchell, "A sequential ensemble Kalman filter for atmospheric data
    assimilation" (2001), for the taper.
    """
    if not reach > 0:
        raise ValueError(f"reach must be positive, got {reach}")
    if not 0 <= weight < 1:
        raise ValueError(f"weight must be at least 0 and less than 1, got {weight}")
    rows, columns = (x.to(moments) for x in _places((len(moments) // side, side)))
    t = torch.hypot(rows[:, None] - rows, columns[:, None] - columns).div_(reach).clamp_(max=1)
    taper = 1 - 1.5 * t + 0.5 * t**3
    return weight * taper * moments + (1 - weight) * stationary


def learn_moments(
    y: Tensor,
    observed: Tensor,
    stationary: Tensor,
    reach: float,
    weight: float,
    iterations: int,
    seed: int | None = None,
    first: Tensor | None = None,
) -> Tensor:
    """Return second moments of images of which some cells are hidden.

    In turn hidden cells are completed under the present covariance, and the completed images'
    moments give the next one. By default they are completed by their means, as in iterative PCA:
    what is left out, their variance, makes predictions cautious where little was seen. With a seed
    they are drawn, a stochastic approximation of EM: right in the limit of many images, noisier for
    a thousand. From the third iteration on the moments of draws are averaged.

    Parameters
    ----------
    y : Tensor, (n, c, h, w)
        Of mean zero; anything where not observed.
    observed : bool Tensor, (n, 1, h, w)
        Which cells are seen.
    stationary, reach, weight
        As in :func:`localised`.
    iterations : int
        At least 1; each completes every image once.
    seed : int, optional
        Of the draws.
    first : Tensor, (h w, h w), optional
        Moments to begin with; by default the covariance is stationary at first.

    Raises
    ------
    ValueError
        If ``iterations`` is less than 1.

    References
    ----------
    Josse & Husson, "Handling missing values in exploratory multivariate data analysis methods"
    (2012), for completion by means; Delyon, Lavielle & Moulines, "Convergence of a stochastic
    approximation version of the EM algorithm" (1999).
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    moments = first
    for iteration in range(iterations):
        covariance = stationary
        if moments is not None:
            covariance = localised(moments, stationary, y.shape[-1], reach, weight)
        field = GaussianField(covariance)
        if generator is None:
            moments = second_moments(field.complete(y, observed))
        else:
            found = second_moments(field.draw_given(y, observed, generator))
            kept = 0.0 if iteration < 2 else 1 - 1 / iteration
            moments = found if moments is None else found.lerp(moments, kept)
    assert moments is not None
    return moments


def _places(shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the row and the column of each cell, row by row."""
    rows, columns = torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    return rows.flatten(), columns.flatten()
