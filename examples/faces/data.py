"""Faces, or made-up smooth images where there are none."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SIDE = 64


class Faces(NamedTuple):
    """Images in [-1, 1], each of shape (n, 3, side, side).

    Attributes
    ----------
    train : Tensor
        Learned from.
    held_out : Tensor
        Also of the training set; intervals are calibrated on them, settings are chosen on them.
    test : Tensor
        Seen by nothing but the scores.
    """

    train: Tensor
    held_out: Tensor
    test: Tensor


def load_images(folder: Path, side: int, made_up: int | None = None) -> Tensor:
    """Return all images, (n, 3, side, side) in [-1, 1].

    Parameters
    ----------
    folder : Path
        Holds ``faces64.npz`` with ``images``, (n, 64, 64, 3) bytes.
    side : int
        A divisor of 64; smaller images are means over blocks.
    made_up : int, optional
        Return so many smooth random images instead.
    """
    if SIDE % side:
        raise ValueError(f"side must divide {SIDE}, got {side}")
    if made_up is not None:
        generator = torch.Generator().manual_seed(0)
        coarse = 2 * torch.rand(made_up, 3, 4, 4, generator=generator) - 1
        return torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(-1, 1)
    path = folder / "faces64.npz"
    if not path.is_file():
        raise SystemExit(
            f"{path} is not there: put aligned faces as faces64.npz, key images, (n, 64, 64, 3) "
            "bytes, into that folder or name another by --data; --smoke runs without them"
        )
    pixels = np.load(path)["images"].transpose(0, 3, 1, 2)
    images = torch.from_numpy(pixels.astype(np.float32)) / 127.5 - 1
    return torch.nn.functional.avg_pool2d(images, SIDE // side)


def split(images: Tensor, train: int, held_out: int, test: int, seed: int) -> Faces:
    """Return disjoint parts of the images, drawn by a seed.

    Raises
    ------
    ValueError
        If there are too few images.
    """
    if len(images) < train + held_out + test:
        raise ValueError(
            f"{train} + {held_out} + {test} images are asked for, there are {len(images)}"
        )
    order = np.random.default_rng(seed).permutation(len(images))[: train + held_out + test]
    return Faces(*images[torch.from_numpy(order)].split([train, held_out, test]))


def mirrored(images: Tensor) -> Tensor:
    """Return the images and their mirror images, (2n, 3, side, side)."""
    return torch.cat([images, images.flip(-1)])
