"""Faces, or made-up smooth images where there are none."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from explainaway import data


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


def load_images(source: Path, side: int, made_up: int | None = None) -> Tensor:
    """Return all images, (n, 3, side, side) in [-1, 1].

    Parameters
    ----------
    source : Path
        A folder with ``faces64.npz`` or with pictures, or a file of images
        (`explainaway.data.load_images`).
    side : int
        Smaller images are means over blocks.
    made_up : int, optional
        Return so many smooth random images instead.
    """
    if made_up is not None:
        generator = torch.Generator().manual_seed(0)
        coarse = 2 * torch.rand(made_up, 3, 4, 4, generator=generator) - 1
        return torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(-1, 1)
    images = data.load_images(source, side, file="faces64.npz")
    return images.expand(-1, 3, -1, -1).contiguous()


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
