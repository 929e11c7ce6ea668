"""The exemplars: images and sounds from the data folder, or made up."""

import math
from pathlib import Path

import torch
from torch import Tensor

from explainaway.data import load_images, load_sound

RATE = 11025
"""Samples of a sound in a second."""


def texture(source: Path, name: str) -> Tensor:
    """Return an image (3, 224, 224) in [-1, 1].

    Parameters
    ----------
    source : Path
        A folder with ``textures/NAME.png``, or a picture (`explainaway.data.load_images`).
    name : str
        Of the texture, without the ending.
    """
    image = load_images(source, 224, file=f"textures/{name}.png")[0]
    return image.expand(3, -1, -1).contiguous()


def sound(source: Path, name: str) -> Tensor:
    """Return a sound (1, 60000) whose root mean square is 1/3, so that few samples leave [-1, 1].

    Parameters
    ----------
    source : Path
        A folder with ``sounds/NAME.wav``, or a WAV file (`explainaway.data.load_sound`).
    name : str
        Of the sound, without the ending.
    """
    made = load_sound(source, RATE, count=60000, file=f"sounds/{name}.wav")[:1]
    return made / made.std() / 3


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
