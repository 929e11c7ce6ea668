"""A video with holes, and deconvolution networks with latents that move, learned from it.

A fifth of the frames is missing, and half of the pixels of the others. The posteriors of all
latents of the video are among those on which it is counted how often warnings err.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from explainaway.data import load_video
from explainaway.inference import HMC, MALA, AlternatingBackProp
from explainaway.models import VAR, Gaussian, GeneratorModel, Masked, Normal, OverTime, deconvnet
from explainaway.models.dynamics import yule_walker

SIDE = 32
LATENT_DIM = 20
AHEAD = 8
"""Last frames that are left out."""


def load(folder: Path, texture: str, smoke: bool) -> Tensor:
    """Return a video (T, 3, 32, 32) in [-1, 1]."""
    path = folder / "motion" / f"{texture}.npz"
    if smoke and not path.is_file():
        grid = torch.arange(SIDE) / SIDE * 2 * torch.pi
        wave = torch.sin(
            grid[None, None] + 2 * grid[None, :, None] + torch.arange(56)[:, None, None] / 3
        )
        return 0.8 * wave[:, None].expand(-1, 3, -1, -1)
    return load_video(path, SIDE, count=56 if smoke else None)


def observed_cells(video: Tensor, seed: int) -> Tensor:
    """Return what is seen, (T, 3, h, w): four fifths of the frames, half of their pixels."""
    generator = torch.Generator().manual_seed(seed)
    length, _, height, width = video.shape
    pixels = torch.rand(length, 1, height, width, generator=generator) < 0.5
    inner = torch.randperm(length - 2, generator=generator)[: round(0.2 * length)] + 1
    pixels[inner] = False
    return pixels.expand_as(video)


def frame_network(options: argparse.Namespace) -> torch.nn.Sequential:
    """Return the generator of a frame."""
    return deconvnet(LATENT_DIM, (3, SIDE, SIDE), width=options.width, batch_norm=True)


def learn_two_stage(y: Tensor, options: argparse.Namespace) -> tuple[GeneratorModel, Tensor]:
    """Learn frames, then fit their dynamics; return the model of the video and its latents."""
    torch.manual_seed(options.seed)
    observation = Masked(Gaussian(options.noise, torch.tanh))
    frames = GeneratorModel(Normal(LATENT_DIM), frame_network(options), observation)
    abp = AlternatingBackProp(
        frames,
        kernel=MALA(),
        inference_steps=5,
        optimizer=torch.optim.Adam(frames.parameters(), lr=options.learning_rate),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, options.epochs),
        batch_size=len(y),
    )
    fit = abp.fit(y, epochs=options.epochs, seed=options.seed, progress=False)
    latents: Tensor = fit.latents
    prior = VAR(LATENT_DIM, len(y), *yule_walker(latents))
    return GeneratorModel(prior, OverTime(frames.network), observation), latents


def learn_jointly(y: Tensor, options: argparse.Namespace) -> tuple[GeneratorModel, Tensor]:
    """Learn network and dynamics together; return the model of the video and its latents."""
    torch.manual_seed(options.seed)
    model = GeneratorModel(
        VAR(LATENT_DIM, len(y), transition=0.5, learn=True),
        OverTime(frame_network(options)),
        Masked(Gaussian(options.noise, torch.tanh)),
    )
    abp = AlternatingBackProp(
        model,
        kernel=HMC(5),
        inference_steps=1,
        optimizer=torch.optim.Adam(model.parameters(), lr=options.learning_rate),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, options.epochs),
    )
    fit = abp.fit(y[None], epochs=options.epochs, seed=options.seed, progress=False)
    return model, fit.latents[0]


def interpolated(y: Tensor) -> Tensor:
    """Return a sequence whose holes are filled linearly in time, each component by itself."""
    flat = y.flatten(1).numpy()
    times = np.arange(len(flat))
    seen = ~np.isnan(flat)
    columns = [np.interp(times, times[s], c[s]) for c, s in zip(flat.T, seen.T, strict=True)]
    return torch.tensor(np.stack(columns, 1), dtype=y.dtype).reshape(y.shape)
