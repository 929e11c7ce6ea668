"""Images and videos from a folder of pictures, a picture or an array in a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from .arrays import channels_first, scaled, stored_array
from .found import MissingDataError, check_count, found, or_file

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
ARRAYS = (".npz", ".npy")
EXPECTED = f"a folder of pictures ({', '.join(ENDINGS)}), a picture, or an array (.npz, .npy)"


def load_images(
    source: str | Path,
    side: int | None = None,
    *,
    count: int | None = None,
    file: str | None = None,
) -> Tensor:
    """Return images as a tensor.

    Parameters
    ----------
    source : path
        A folder of pictures, which are read in the order of their names; one picture; or an
        ``.npz`` or ``.npy`` file with an array of images, (n, h, w), (n, h, w, 3) or (n, 3, h, w),
        in an ``.npz`` the one named ``images`` or the only one. Unsigned whole numbers (bytes) are
        scaled by their range; floats must lie in [-1, 1], NaN where a pixel is not known.
    side : int, optional
        Of the returned images, in pixels: their centred square, made smaller by averaging. By
        default they are left as they are, and must all have the same size.
    count : int, optional
        Return only the first so many.
    file : str, optional
        If the source is a folder that has this file, it is read.

    Returns
    -------
    Tensor, (n, channels, h, w)
        In [-1, 1], single precision; one channel where all images are grey, else three.

    Raises
    ------
    MissingDataError
        If there is nothing, or no picture in the folder.
    ValueError
        If something cannot be read as an image, is smaller than ``side``, or sizes differ.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> path = tempfile.mkdtemp() + "/mine.npz"
    >>> np.savez(path, images=np.zeros((5, 64, 48, 3), np.uint8))
    >>> load_images(path, side=16).shape
    torch.Size([5, 3, 16, 16])
    """
    check_count("side", side)
    check_count("count", count)
    path = found(source, file, EXPECTED)
    if path.suffix.lower() in ARRAYS:
        return _from_array(path, "images", side)[:count]
    if not path.is_dir():
        return _together([_read(path)], [path], side)[:count]
    paths = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS)[:count]
    if not paths:
        raise MissingDataError(f"{path} holds no pictures: expected {or_file(EXPECTED, file)}")
    return _together([_read(p) for p in paths], paths, side)


def load_video(
    source: str | Path,
    side: int | None = None,
    *,
    count: int | None = None,
    file: str | None = None,
) -> Tensor:
    """Return the frames of a video as a tensor.

    Parameters
    ----------
    source : path
        A folder of frames, which are read in the order of their names; a moving picture (GIF,
        WebP, PNG); or an ``.npz`` or ``.npy`` file as for `load_images`, in an ``.npz`` the array
        named ``frames`` or the only one. Other films are turned into frames first
        (``ffmpeg -i film.mp4 frames/%05d.png``).
    side, count, file : optional
        As for `load_images`.

    Returns
    -------
    Tensor, (T, channels, h, w)
        In [-1, 1], single precision.

    Raises
    ------
    MissingDataError, ValueError
        As `load_images`.
    """
    check_count("side", side)
    check_count("count", count)
    path = found(source, file, EXPECTED)
    if path.suffix.lower() in ARRAYS:
        return _from_array(path, "frames", side)[:count]
    if path.is_dir():
        return load_images(path, side, count=count, file=file)
    with _opened(path) as film:
        frames = [_pixels(frame) for frame in ImageSequence.Iterator(film)][:count]
    return _together(frames, [path] * len(frames), side)


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        raise ValueError(f"{path} cannot be read as a picture: expected {EXPECTED}") from None


def _read(path: Path) -> NDArray[np.uint8]:
    with _opened(path) as picture:
        return _pixels(picture)


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """Return (h, w, 1 or 3)."""
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))[..., None]
    if picture.mode.startswith(("I", "F")):
        raise ValueError(
            f"a picture of {picture.mode!r} pixels has no known range: save it as bytes, "
            "or as an array of floats in [-1, 1] (.npy)"
        )
    return np.asarray(picture.convert("RGB"))


def _together(
    pictures: Sequence[NDArray[np.uint8]], paths: Sequence[Path], side: int | None
) -> Tensor:
    grey = all(picture.shape[2] == 1 for picture in pictures)
    made = []
    for picture, path in zip(pictures, paths, strict=True):
        if side is None and picture.shape[:2] != pictures[0].shape[:2]:
            raise ValueError(
                f"side must be given where sizes differ: {paths[0]} has {pictures[0].shape[:2]} "
                f"pixels, {path} {picture.shape[:2]}"
            )
        coloured = picture if grey or picture.shape[2] == 3 else picture.repeat(3, axis=2)
        made.append(_smaller(_tensor(coloured[None], path), side, path))
    return torch.cat(made)


def _from_array(path: Path, key: str, side: int | None) -> Tensor:
    return _smaller(_tensor(stored_array(path, key), path), side, path)


def _tensor(pixels: NDArray[Any], path: Path) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(scaled(channels_first(pixels, path), path)))


def _smaller(images: Tensor, side: int | None, path: Path) -> Tensor:
    if side is None:
        return images
    height, width = images.shape[2:]
    whole = min(height, width)
    if side > whole:
        raise ValueError(f"side must be at most {whole}, the side of {path}, got {side}")
    top, left = (height - whole) // 2, (width - whole) // 2
    square = images[..., top : top + whole, left : left + whole]
    if whole % side:
        return adaptive_avg_pool2d(square, side)
    return avg_pool2d(square, whole // side)
