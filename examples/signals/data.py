"""The exemplars: images and sounds from the data folder, or made up."""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.io import wavfile
from torch import Tensor

RATE = 11025
"""Samples of a sound in a second."""


def texture(data: Path, name: str) -> Tensor:
    """Return an image (3, 224, 224) in [-1, 1].

    Parameters
    ----------
    data : Path
        Folder with ``textures/NAME.png``.
    name : str
        Of the texture, without the ending.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    path = _found(data / "textures" / f"{name}.png")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((224, 224)), dtype=np.float32)
    return torch.tensor(pixels / 127.5 - 1).permute(2, 0, 1).contiguous()


def sound(data: Path, name: str) -> Tensor:
    """Return a sound (1, 60000) whose root mean square is 1/3, so that few samples leave [-1, 1].

    Parameters
    ----------
    data : Path
        Folder with ``sounds/NAME.wav``, 16 bit at 11,025 Hz.
    name : str
        Of the sound, without the ending.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If it has another rate or is too short.
    """
    path = _found(data / "sounds" / f"{name}.wav")
    rate, samples = wavfile.read(path)
    if rate != RATE or len(samples) < 60000:
        raise ValueError(
            f"{path} must have 60,000 samples at {RATE} Hz or more, got {len(samples)} at {rate} Hz"
        )
    made = torch.tensor(samples[:60000].astype(np.float32))
    return (made / made.std() / 3)[None]


def made_up_texture(side: int = 128) -> Tensor:
    """Return bright blobs at random places."""
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(60, 2, generator=generator) * side
    grid = torch.stack(torch.meshgrid(*[torch.arange(float(side))] * 2, indexing="ij"), -1)
    away = (grid[:, :, None] - places).square().sum(-1).amin(-1)
    blobs = 2 * (-away / 40).exp() - 1
    noise = 0.1 * torch.randn(3, side, side, generator=generator)
    return (blobs * torch.tensor([0.9, 0.6, 0.3])[:, None, None] + noise).clamp(-1, 1)


def made_up_sound(length: int = 20000) -> Tensor:
    """Return noise that swells and fades twice a second."""
    generator = torch.Generator().manual_seed(0)
    swell = 1 + (torch.arange(length) * (4 * math.pi / RATE)).sin()
    return (torch.randn(length, generator=generator) * swell)[None] / 4


def _found(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(
            f"there is no {path}: --data is the folder that holds {path.parent.name}/"
        )
    return path
