"""Arrays of pixels out of files, whatever their type and order."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

Array = NDArray[np.float32]


def stored_array(path: Path, key: str) -> NDArray[Any]:
    """Return the array of an ``.npy`` file, or the one named ``key``, or the only, of an ``.npz``.

    Raises
    ------
    ValueError
        If there are several arrays and none is named ``key``.
    """
    opened = np.load(path, allow_pickle=False)
    if not isinstance(opened, NpzFile):
        array: NDArray[Any] = opened
        return array
    with opened:
        if key not in opened and len(opened) != 1:
            raise ValueError(f"{path} must hold an array {key!r} or only one, has {list(opened)}")
        return np.asarray(opened[key if key in opened else next(iter(opened))])


def channels_first(pixels: NDArray[Any], named: Path) -> NDArray[Any]:
    """Return (n, channels, h, w) of (n, h, w), (n, h, w, 1 or 3) or (n, 1 or 3, h, w)."""
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.ndim == 4 and pixels.shape[3] in (1, 3):
        return pixels.transpose(0, 3, 1, 2)
    if pixels.ndim == 4 and pixels.shape[1] in (1, 3):
        return pixels
    raise ValueError(
        f"{named} must hold images of shape (n, h, w), (n, h, w, 3) or (n, 3, h, w), "
        f"got {pixels.shape}"
    )


def scaled(pixels: NDArray[Any], named: Path) -> Array:
    """Return values in [-1, 1]: unsigned whole numbers by their type's range, floats as they are.

    NaN, a pixel that is not known, stays.
    """
    if pixels.dtype.kind == "u":
        # Bytes as everywhere in the literature: x / 127.5 - 1.
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max / 2) - 1
    if pixels.dtype.kind != "f":
        raise ValueError(
            f"{named} must hold bytes, other unsigned whole numbers or floats in [-1, 1], "
            f"got {pixels.dtype}"
        )
    if pixels.size and (np.nanmax(pixels) > 1 or np.nanmin(pixels) < -1):
        raise ValueError(
            f"{named} holds floats, which must lie in [-1, 1], "
            f"got {np.nanmin(pixels):.3g} to {np.nanmax(pixels):.3g}"
        )
    return pixels.astype(np.float32)
