"""Masks of images: which pixels are observed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]


def blocks_observed(
    count: int, side: int, share: float, seed: int | Sequence[int], block: int = 3
) -> BoolArray:
    """Return masks of images, true where observed, with small square holes at random places.

    Blocks, which may overlap and stick out, are hidden until at least the share is.

    Parameters
    ----------
    count : int
        Number of masks.
    side : int
        Of an image, in pixels.
    share : float
        Of the pixels that are hidden, between 0 and 1.
    seed : int or sequence of int
        Of the places.
    block : int, default 3
        Side of a block, in pixels.

    Returns
    -------
    bool array, (count, side, side)

    References
    ----------
    Han, Lu, Zhu & Wu, "Alternating Back-Propagation for Generator Network" (AAAI 2017),
    Experiment 5.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share!r}")
    if not 1 <= block <= side:
        raise ValueError(f"block must be between 1 and side = {side}, got {block!r}")
    rng = np.random.default_rng(seed)
    observed = np.ones((count, side, side), dtype=bool)
    for mask in observed:
        while 1 - mask.mean() < share:
            top, left = rng.integers(1 - block, side, 2)
            mask[max(top, 0) : top + block, max(left, 0) : left + block] = False
    return observed


def square_observed(count: int, side: int, hole: int, seed: int | Sequence[int]) -> BoolArray:
    """Return masks of images, true where observed, with one square hole at a random place.

    Parameters
    ----------
    count : int
        Number of masks.
    side : int
        Of an image, in pixels.
    hole : int
        Side of the hole, in pixels; it lies inside the image.
    seed : int or sequence of int
        Of the places.

    Returns
    -------
    bool array, (count, side, side)
    """
    if not 1 <= hole <= side:
        raise ValueError(f"hole must be between 1 and side = {side}, got {hole!r}")
    rng = np.random.default_rng(seed)
    observed = np.ones((count, side, side), dtype=bool)
    for mask, (top, left) in zip(
        observed, rng.integers(0, side - hole + 1, (count, 2)), strict=True
    ):
        mask[top : top + hole, left : left + hole] = False
    return observed
