"""Videos, and what of them may be seen."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explainaway.data import load_video

Array = NDArray[np.float64]
MOTIONS = ("flag", "fire", "fountain", "boiling_water", "flame", "waterfall")
TASKS = ("forecast", "half of the pixels", "every second frame")


def load_motion(source: Path, name: str, side: int, made_up: bool = False) -> Tensor:
    """Return a video (T, 3, side, side) in [-1, 1].

    Parameters
    ----------
    source : Path
        A folder with ``motion/<name>.npz``, or a video (`explainaway.data.load_video`).
    name : str
        Of the motion.
    side : int
        Smaller frames are means over blocks.
    made_up : bool, default False
        Return a noisy travelling wave of 64 frames instead.
    """
    if made_up:
        grid = torch.arange(side) / side * 2 * torch.pi
        phase = grid[None] + 2 * grid[:, None] + torch.arange(64)[:, None, None] / 3
        noise = torch.randn(64, 3, side, side, generator=torch.Generator().manual_seed(0))
        return 0.8 * torch.sin(phase)[:, None] + 0.05 * noise
    return load_video(source, side, file=f"motion/{name}.npz")


def num_known(length: int) -> int:
    """Return how many first frames are learned from where the last 22 % are forecast."""
    return length - max(16, round(0.22 * length))


def seen_cells(video: Tensor, task: str, seed: int) -> Tensor:
    """Return which cells (T, 3, h, w) are seen: half of the pixels, or every second frame."""
    length, _, height, width = video.shape
    if task == "every second frame":
        return (torch.arange(length) % 2 == 0)[:, None, None, None].expand(video.shape)
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(length, 1, height, width, generator=generator) < 0.5
    # Each pixel is seen somewhere, else it has no mean.
    pixels[0] |= ~pixels.any(0)
    return pixels.expand(video.shape)


def table_of(video: Tensor) -> Array:
    """Return frames as rows, (T, 3 h w), in double precision."""
    rows: Array = video.flatten(1).numpy().astype(np.float64)
    return rows


def video_of(table: Array, like: Tensor) -> Tensor:
    """Return rows (..., 3 h w) as frames (..., 3, h, w)."""
    frames = torch.from_numpy(np.asarray(table, dtype=np.float32))
    return frames.reshape(*frames.shape[:-1], *like.shape[1:])
