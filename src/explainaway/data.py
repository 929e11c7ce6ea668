"""The data that come inside installed packages, and ways to hide parts of data."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class Digits(NamedTuple):
    """scikit-learn's digits with some pixels hidden.

    Attributes
    ----------
    train, test : array, (n, 8, 8)
        Complete images, scaled to [-1, 1].
    train_observed, test_observed : bool array, (n, 8, 8)
        Which pixels may be seen.
    """

    train: Array
    test: Array
    train_observed: BoolArray
    test_observed: BoolArray


def digits(missing: float, seed: int, num_train: int | None = None) -> Digits:
    """Return the digits split into training and test images, a share of the pixels hidden.

    Parameters
    ----------
    missing : float
        Probability with which a pixel is hidden, in both parts.
    seed : int
        Of the split and of the holes.
    num_train : int, optional
        Keep only the first so many training images (and a quarter as many test images).

    Returns
    -------
    Digits
    """
    if not 0 < missing < 1:
        raise ValueError(f"missing must lie between 0 and 1, got {missing!r}")
    images = (load_digits().images / 8 - 1).astype(np.float32)
    train, test = train_test_split(images, test_size=0.2, random_state=seed)
    if num_train is not None:
        train, test = train[:num_train], test[: max(num_train // 4, 1)]
    rng = np.random.default_rng(seed)
    return Digits(
        train, test, rng.random(train.shape) >= missing, rng.random(test.shape) >= missing
    )


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
