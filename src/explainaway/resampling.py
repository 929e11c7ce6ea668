"""Textures and sounds made of an exemplar without learning: what a generator has to beat."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def phase_noise(exemplar: Array, size: tuple[int, ...], seed: int) -> Array:
    """Return normal noise with the spectrum of an exemplar, and of its channels' correlations.

    The exemplar, less its mean, is convolved with white noise: asymptotic discrete spot noise. Its
    edges are faded out, so that they leave no cross in the spectrum.

    Parameters
    ----------
    exemplar : array, (channels, ...)
        An image (3, h, w) or a sound (1, t).
    size : tuple of int
        Of the result, without the channels; none smaller than the exemplar's.
    seed : int
        Of the noise.

    Returns
    -------
    array, (channels, *size)

    Raises
    ------
    ValueError
        If the size has another number of dimensions, or is smaller.

    References
    ----------
    Galerne, Gousseau & Morel, "Random phase textures: theory and synthesis" (2011).
    """
    inner = exemplar.shape[1:]
    if len(size) != len(inner) or any(n < m for n, m in zip(size, inner, strict=False)):
        raise ValueError(f"size must be at least the exemplar's, {inner}, got {size}")
    axes = tuple(range(1, len(size) + 1))
    mean = exemplar.mean(axes, keepdims=True)
    window = np.ones(())
    for n in inner:
        window = window[..., None] * _faded(n, n // 8)
    spot = np.zeros((len(exemplar), *size))
    spot[(slice(None), *map(slice, inner))] = (exemplar - mean) * window
    spot /= np.sqrt((window**2).sum())
    white = np.random.default_rng(seed).normal(size=size)
    spectrum = np.fft.rfftn(spot, axes=axes) * np.fft.rfftn(white)
    # Fading leaves a mean, which would be a random one.
    spectrum.reshape(len(exemplar), -1)[:, 0] = 0
    made: Array = np.fft.irfftn(spectrum, size, axes) + mean
    return made


def quilted(exemplar: Array, size: tuple[int, int], block: int, seed: int) -> Array:
    """Return a texture quilted of blocks of an exemplar, cut where they differ least.

    Parameters
    ----------
    exemplar : array, (channels, h, w)
        Where the blocks come from.
    size : (int, int)
        Height and width of the result.
    block : int
        Side of a block in pixels; blocks overlap by a sixth of it.
    seed : int
        Of the choice among the blocks whose overlap fits within a tenth of the best.

    Returns
    -------
    array, (channels, *size)

    Raises
    ------
    ValueError
        If a block is smaller than 6 pixels or larger than the exemplar.

    References
    ----------
    Efros & Freeman, "Image quilting for texture synthesis and transfer" (2001).
    """
    if not 6 <= block <= min(exemplar.shape[1:]):
        raise ValueError(
            f"block must lie between 6 and the exemplar's side ({min(exemplar.shape[1:])}), "
            f"got {block}"
        )
    rng = np.random.default_rng(seed)
    overlap = block // 6
    step = block - overlap
    rows, columns = (-(-(n - overlap) // step) for n in size)
    canvas = np.zeros((len(exemplar), rows * step + overlap, columns * step + overlap))
    for top in range(0, rows * step, step):
        for left in range(0, columns * step, step):
            place = (slice(None), slice(top, top + block), slice(left, left + block))
            there = canvas[place]
            known = np.zeros((block, block))
            known[:overlap] = top > 0
            known[:, :overlap] = np.maximum(known[:, :overlap], left > 0)
            i, j = _fitting(exemplar, there, known, rng)
            new = exemplar[:, i : i + block, j : j + block]
            apart = ((new - there) ** 2).sum(0)
            keep = np.zeros((block, block), dtype=bool)
            if left:
                keep[:, :overlap] |= _before_cut(apart[:, :overlap])
            if top:
                keep[:overlap] |= _before_cut(apart[:overlap].T).T
            canvas[place] = np.where(keep, there, new)
    return canvas[:, : size[0], : size[1]]


def overlapped_grains(exemplar: Array, length: int, grain: int, seed: int) -> Array:
    """Return a sound of grains of an exemplar at random places, cross-faded over half of each.

    Parameters
    ----------
    exemplar : array, (channels, t)
        Where the grains come from.
    length : int
        Of the result, in samples.
    grain : int
        Length of a grain, in samples, even.
    seed : int
        Of the places.

    Returns
    -------
    array, (channels, length)

    Raises
    ------
    ValueError
        If a grain is odd, or longer than the exemplar.
    """
    if grain % 2 or not 2 <= grain <= exemplar.shape[1]:
        raise ValueError(
            f"grain must be even and at most the exemplar's {exemplar.shape[1]} samples, "
            f"got {grain}"
        )
    rng = np.random.default_rng(seed)
    half = grain // 2
    # Powers of the two that overlap add up to one, as they do in what is not correlated.
    fade = np.sin(np.pi * (np.arange(grain) + 0.5) / grain)
    made = np.zeros((len(exemplar), length + 2 * grain))
    for place in range(0, length + grain, half):
        start = rng.integers(exemplar.shape[1] - grain + 1)
        made[:, place : place + grain] += exemplar[:, start : start + grain] * fade
    return made[:, half : half + length]


def _faded(length: int, edge: int) -> Array:
    """Return ones with raised cosines at both ends."""
    window = np.ones(length)
    slope = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / max(edge, 1))
    window[:edge], window[length - edge :] = slope, slope[::-1]
    return window


def _fitting(exemplar: Array, there: Array, known: Array, rng: np.random.Generator) -> list[int]:
    """Return the place of a block that fits what is known, one of the best by chance."""
    block = len(known)
    rows, columns = (n - block + 1 for n in exemplar.shape[1:])
    if not known.any():
        return [int(rng.integers(rows)), int(rng.integers(columns))]
    size = exemplar.shape[1:]
    # Σ known (e - y)² at all places: correlations, by the Fourier transform.
    masks = np.conj(np.fft.rfft2(known, size))
    products = np.fft.rfft2(exemplar) * np.conj(np.fft.rfft2(there * known, size))
    squares = np.fft.rfft2((exemplar**2).sum(0)) * masks
    apart = np.fft.irfft2(squares - 2 * products.sum(0), size)[:rows, :columns]
    apart = np.maximum(apart + ((there**2).sum(0) * known).sum(), 0)
    good = np.argwhere(apart <= 1.1 * apart.min() + 1e-9)
    return [int(n) for n in good[rng.integers(len(good))]]


def _before_cut(apart: Array) -> NDArray[np.bool_]:
    """Return what lies left of the vertical path of least cost."""
    cost = apart.copy()
    for i in range(1, len(cost)):
        above = np.pad(cost[i - 1], 1, constant_values=np.inf)
        cost[i] += np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:])
    left = np.zeros(cost.shape, dtype=bool)
    j = int(cost[-1].argmin())
    for i in range(len(cost) - 1, -1, -1):
        left[i, :j] = True
        if i:
            low = max(j - 1, 0)
            j = low + int(cost[i - 1, low : j + 2].argmin())
    return left
