"""scikit-learn's digits, some of their pixels hidden."""

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
