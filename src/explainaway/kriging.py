"""Kriging: hidden cells from their neighbours, by a stationary covariance learned with holes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .models import ColoredGaussian

FEWEST_PAIRS = 1.0
"""Pairs of observed cells at a lag, over all examples, below which its covariance is taken as 0."""


def tapered_autocovariance(residual: Tensor, observed: Tensor, reach: int) -> Tensor:
    """Return the covariance of cells a lag apart, from the pairs that were both observed.

    The mean over pairs, channels and examples, times a spherical taper that is zero from ``reach``
    on: of far lags there are few pairs, and their noise would make the covariance indefinite.

    Parameters
    ----------
    residual : Tensor, (n, c, h, w)
        Of mean zero; anything where not observed.
    observed : bool Tensor, (n, c, h, w)
        Which cells may be seen.
    reach : int
        Lag in cells, at least 1, from which on there is no correlation.

    Returns
    -------
    Tensor
        (h + reach, w + reach), lag 0 first, negative lags from the end: periodic, as on the torus
        of :class:`~explainaway.models.ColoredGaussian` with ``padding=reach``.

    Raises
    ------
    ValueError
        If ``reach`` is less than 1 or more than the image's smaller side.

    References
    ----------
    Marcotte, "Fast variogram computation with FFT" (1996); Gneiting, "Compactly supported
    correlation functions" (2002), for tapers.
    """
    height, width = residual.shape[-2:]
    if not 1 <= reach <= min(height, width):
        raise ValueError(
            f"reach must be between 1 and the smaller side, {min(height, width)}, got {reach}"
        )
    torus = (height + reach, width + reach)
    sums = _by_lag(torch.where(observed, residual, 0.0), torus)
    pairs = _by_lag(observed.to(residual.dtype), torus)
    covariance = torch.where(pairs < FEWEST_PAIRS, 0.0, sums / pairs.clamp(min=FEWEST_PAIRS))
    lags = [torch.arange(size) for size in torus]
    rows, columns = (
        torch.minimum(lag, size - lag).to(residual) for lag, size in zip(lags, torus, strict=True)
    )
    t = (torch.hypot(rows[:, None], columns) / reach).clamp(max=1)
    tapered: Tensor = covariance * (1 - 1.5 * t + 0.5 * t**3)
    return tapered


def _by_lag(cells: Tensor, torus: Sequence[int]) -> Tensor:
    """Return the sum of products of cells (n, c, h, w) a lag apart, (*torus)."""
    power = torch.zeros(torus[0], torus[1] // 2 + 1, dtype=cells.dtype)
    for some in cells.split(100):
        power += torch.fft.rfft2(some, s=tuple(torus)).abs().square().sum((0, 1))
    sums: Tensor = torch.fft.irfft2(power, s=tuple(torus))
    return sums


def stationary_noise(
    residual: Tensor, observed: Tensor, reach: int, nugget: float = 0.005
) -> ColoredGaussian:
    """Return noise whose covariance is the tapered autocovariance of observed residuals.

    Its ``complete`` is simple kriging. Negative parts of the spectrum are clipped.

    Parameters
    ----------
    residual, observed, reach
        As in :func:`tapered_autocovariance`.
    nugget : float, default 0.005
        Variance that is added to every cell's, as a share of it: what neighbours cannot tell.

    References
    ----------
    Chilès & Delfiner, "Geostatistics: modeling spatial uncertainty" (2012), section 3.3.
    """
    covariance = tapered_autocovariance(residual, observed, reach)
    spectrum = torch.fft.fft2(covariance.double()).real.clamp(min=0)
    # The same at k and -k, which rounding spoils.
    spectrum = (spectrum + spectrum.flip(0, 1).roll((1, 1), (0, 1))) / 2
    spectrum = spectrum.to(covariance.dtype) + nugget * covariance[0, 0]
    return ColoredGaussian(
        tuple(residual.shape[-2:]),
        spectrum.sqrt(),
        learn_spectrum=False,
        padding=reach,
        nugget=1e-3,
    )


def kriged(
    noise: ColoredGaussian, signal: Tensor, y: Tensor, observed: Tensor, batch_size: int = 50
) -> Tensor:
    """Return y, its hidden cells the signal plus what the observed residuals predict there.

    Parameters
    ----------
    noise : ColoredGaussian
        Of the residuals.
    signal : Tensor, (n, c, h, w)
        Around which it is.
    y : Tensor, (n, c, h, w)
        Anything finite where not observed.
    observed : bool Tensor, (n, c, h, w)
        Which cells may be seen.
    batch_size : int, default 50
        Images at once.
    """
    parts = zip(*(each.split(batch_size) for each in (signal, y, observed)), strict=True)
    return torch.cat([noise.complete(*some) for some in parts])
