"""Networks with and without batch normalisation, each given the same time.

Each of the four deconvolution networks learns from incomplete data by the library's defaults: 200
faces (16x16, half of the pixels hidden), a texture (48x48, 30 % of the pixels hidden in 4x4
blocks), a sound (2,000 samples, a tenth hidden in runs of 10) and a video clip (8 frames of 16x16,
half of the pixels hidden). Hidden cells are then the mean of the signal over as many steps of each
chain while the weights stand still; errors are relative to the range.

    python benchmarks/batch_norm.py [--smoke] [--seconds 40] [--seeds 2]

The data lie in ``--data`` (by default ../shared/data beside the checkout): ``faces64.npz``,
``textures/``, ``sounds/``, ``motion/``; ``--smoke`` makes up smooth ones where they do not.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor, nn

from explainaway.data import load_images, load_sound, load_video
from explainaway.inference import MALA, AlternatingBackProp, SamplingWarning, sample_posterior
from explainaway.models import (
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    deconvnet,
    sound_deconvnet,
    texture_deconvnet,
    video_deconvnet,
)

ROOT = Path(__file__).resolve().parents[1]
NOISE = 0.2
STEPS = 100
"""Of warmup, and as many whose mean recovers the hidden cells."""


class Problem(NamedTuple):
    """What is learned from what.

    Attributes
    ----------
    load : callable
        From the folder to the data (n, ...), in [-1, 1].
    shape : tuple of int
        Of the data.
    latent : int or tuple of int
        Shape of one latent.
    network : callable
        From ``batch_norm=`` to a network.
    block : tuple of int
        Sides of the blocks that are hidden together.
    hidden : float
        Share of hidden cells.
    batch_size : int
        Examples in a minibatch.
    """

    load: Callable[[Path], Tensor]
    shape: tuple[int, ...]
    latent: int | tuple[int, ...]
    network: Callable[..., nn.Module]
    block: tuple[int, ...]
    hidden: float
    batch_size: int = 50


def faces(folder: Path) -> Tensor:
    """Return 200 faces, (200, 3, 16, 16)."""
    return load_images(folder / "faces64.npz", 16, count=200)


def texture(folder: Path) -> Tensor:
    """Return a part of a texture, (1, 3, 48, 48)."""
    image = load_images(folder / "textures" / "pebbles.png")[..., :96, :96]
    return nn.functional.avg_pool2d(image, 2)


def sound(folder: Path) -> Tensor:
    """Return a part of a sound, (1, 1, 2000)."""
    values = load_sound(folder / "sounds" / "crickets.wav", 11025)[None, :, :2000]
    return values / values.abs().max()


def video(folder: Path) -> Tensor:
    """Return a part of a clip, (1, 3, 8, 16, 16)."""
    frames = load_video(folder / "motion" / "flag.npz", 16, count=8)
    return frames.transpose(0, 1)[None]


PROBLEMS = {
    "deconvnet": Problem(
        faces,
        (200, 3, 16, 16),
        50,
        lambda **more: deconvnet(50, (3, 16, 16), width=16, **more),
        (1, 1),
        0.5,
    ),
    "texture_deconvnet": Problem(
        texture,
        (1, 3, 48, 48),
        (8, 6, 6),
        lambda **more: texture_deconvnet(8, num_layers=3, width=16, **more),
        (4, 4),
        0.3,
    ),
    "sound_deconvnet": Problem(
        sound,
        (1, 1, 2000),
        (8, 20),
        lambda **more: sound_deconvnet(8, num_layers=2, width=16, **more),
        (10,),
        0.1,
    ),
    "video_deconvnet": Problem(
        video,
        (1, 3, 8, 16, 16),
        (8, 2, 4, 4),
        lambda **more: video_deconvnet(8, num_layers=2, width=16, **more),
        (1, 1, 1),
        0.5,
    ),
}


def observed_cells(shape: torch.Size, block: tuple[int, ...], hidden: float, seed: int) -> Tensor:
    """Return a mask (n, 1, ...), true where observed; whole blocks are hidden."""
    generator = torch.Generator().manual_seed(seed)
    coarse = [-(-size // side) for size, side in zip(shape[2:], block, strict=True)]
    mask = torch.rand(shape[0], 1, *coarse, generator=generator) >= hidden
    for axis, (size, side) in enumerate(zip(shape[2:], block, strict=True), start=2):
        mask = mask.repeat_interleave(side, axis).narrow(axis, 0, size)
    return mask


def measure(
    name: str, problem: Problem, data: Tensor, batch_norm: bool, seed: int, seconds: float
) -> dict[str, Any]:
    """Learn for so many seconds and recover the hidden cells."""
    observed = observed_cells(data.shape, problem.block, problem.hidden, seed).expand_as(data)
    y = torch.where(observed, data, torch.nan)
    torch.manual_seed(seed)
    model = GeneratorModel(
        Normal(problem.latent),
        problem.network(batch_norm=batch_norm),
        Masked(Gaussian(NOISE, torch.tanh)),
    )
    abp = AlternatingBackProp(model, MALA(), batch_size=problem.batch_size)
    fit = abp.fit(
        y,
        epochs=10**6,
        seed=seed,
        stop=lambda history: history["seconds"][-1] >= seconds,
        progress=False,
    )
    began_at = init_to_value(values={"z": fit.latents})
    with warnings.catch_warnings():
        # A mean of the signal needs fewer draws than an interval would.
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = sample_posterior(
            model,
            y,
            kernel=MALA(),
            num_chains=1,
            warmup_steps=STEPS,
            num_samples=STEPS,
            seed=seed,
            init_strategy=began_at,
            accumulate={"signal": model.decode},
            progress=False,
        )
    error = (posterior.accumulated["signal"].mean.reshape(data.shape) - data)[~observed]
    return {
        "network": name,
        "batch norm": batch_norm,
        "seed": seed,
        "epochs": len(fit.history["loss"]),
        "loss": round(fit.history["loss"][-1], 2),
        "hidden RMSE": round(float(error.square().mean().sqrt()) / 2, 5),
        "RMSE of the mean": round(float(data[~observed].std(correction=0)) / 2, 5),
        "mean square of z": round(float(fit.latents.square().mean()), 3),
    }


def smooth(shape: torch.Size) -> Tensor:
    """Return made-up data of a shape, in [-1, 1]."""
    coarse = torch.rand(*shape[:2], *[max(size // 4, 1) for size in shape[2:]])
    return 2 * nn.functional.interpolate(coarse, size=shape[2:]) - 1


def main() -> None:
    """Measure every network with and without; write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="seconds, on made-up data")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if options.smoke:
        options.seconds, options.seeds = 0.5, 1
    torch.set_num_threads(1)
    rows = []
    for name, problem in PROBLEMS.items():
        data = smooth(torch.Size(problem.shape)) if options.smoke else problem.load(options.data)
        for seed in range(options.seeds):
            for batch_norm in (True, False):
                rows.append(measure(name, problem, data, batch_norm, seed, options.seconds))
                print(json.dumps(rows[-1]), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    table = {"seconds of learning": options.seconds, "rows": rows}
    (options.output / "batch_norm.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
