"""A dynamic texture learned from an incomplete video, and what comes after it (Experiment 4).

A fifth of the frames is missing, and half of the pixels of the others. Two ways to learn latents
that move by ``z_t = A z_{t-1} + Q^{1/2} ε`` below a deconvolution network:

- two-stage, as the paper: learn the frames as independent examples, then fit (A, Q) to their
  latents;
- joint: the whole video is one example, and A and Q are learned with the network.

Then the posterior of all latents given the incomplete video tells the missing pixels and frames,
and continued it tells the frames that follow. Measured against Doretto's linear dynamical system
by SVD (on a video whose holes are filled by interpolation in time), that interpolation with the
last frame repeated, and the mean frame.

    python examples/video_dynamics.py [--smoke] [--texture flag] [--epochs 400]

The data are ``motion/<texture>.npz`` with ``frames`` (T, 64, 64, 3), bytes, in ``--data`` (by
default ../shared/data beside the checkout). Without them the example says so; ``--smoke`` then
makes up moving waves.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor

from explainaway.evaluation import RecoveryError, recovery_error
from explainaway.inference import HMC, MALA, AlternatingBackProp, sample_posterior
from explainaway.models import (
    VAR,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    OverTime,
    deconvnet,
    dynamic_texture,
    forecast,
)
from explainaway.models.dynamics import yule_walker
from explainaway.plots import save_panels, tile

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32
LATENT_DIM = 20
AHEAD = 8
"""Frames that are kept back, to be forecast."""


class Result(NamedTuple):
    """What a model says of the holes and of the future.

    Attributes
    ----------
    video : Tensor, (T, 3, h, w)
        The whole of what was seen in part.
    ahead : Tensor, (AHEAD, 3, h, w)
        The frames that follow.
    spread : Tensor, (AHEAD, 3, h, w), optional
        Their predictive standard deviation.
    """

    video: Tensor
    ahead: Tensor
    spread: Tensor | None = None


def load_video(folder: Path, texture: str, smoke: bool) -> Tensor:
    """Return a video (T, 3, 32, 32) in [-1, 1]."""
    path = folder / "motion" / f"{texture}.npz"
    if path.is_file():
        frames = torch.from_numpy(np.load(path)["frames"].astype(np.float32) / 127.5 - 1)
        video: Tensor = torch.nn.functional.avg_pool2d(frames.permute(0, 3, 1, 2), 2)
        return video[:56] if smoke else video
    if smoke:
        grid = torch.arange(SIDE) / SIDE * 2 * torch.pi
        wave = torch.sin(
            grid[None, None] + 2 * grid[None, :, None] + torch.arange(56)[:, None, None] / 3
        )
        return 0.8 * wave[:, None].expand(-1, 3, -1, -1)
    raise SystemExit(
        f"{path} is not there: put a video as {texture}.npz, key frames, (T, 64, 64, 3) bytes, "
        "into that folder or name another by --data; --smoke runs without it"
    )


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


def infer(model: GeneratorModel, latents: Tensor, y: Tensor, options: argparse.Namespace) -> Result:
    """Return posterior means of the whole video and of the frames that follow."""
    # The latents of missing frames are the slowest: they start between those of their neighbours.
    missing = y.isnan().flatten(1).all(1)
    start = interpolated(torch.where(missing[:, None], torch.nan, latents))
    posterior = sample_posterior(
        model,
        y[None],
        kernel=HMC(10),
        num_chains=1,
        warmup_steps=options.draws,
        num_samples=options.draws,
        seed=options.seed,
        init_strategy=init_to_value(values={"z": start[None]}),
        accumulate={"video": model.decode},
        progress=False,
    )
    draws = posterior.get_samples()["z"].repeat(10, 1, 1, 1)
    frames = forecast(model, draws, AHEAD, seed=options.seed).frames[:, 0]
    spread = (frames.var(0) + options.noise**2).sqrt()
    return Result(posterior.accumulated["video"].mean[0], frames.mean(0), spread)


def interpolated(y: Tensor) -> Tensor:
    """Return a sequence whose holes are filled linearly in time, each component by itself."""
    flat = y.flatten(1).numpy()
    times = np.arange(len(flat))
    seen = ~np.isnan(flat)
    columns = [np.interp(times, times[s], c[s]) for c, s in zip(flat.T, seen.T, strict=True)]
    return torch.tensor(np.stack(columns, 1), dtype=y.dtype).reshape(y.shape)


def baselines(y: Tensor) -> dict[str, Result]:
    """Return what needs no network."""
    filled = interpolated(y)
    texture = dynamic_texture(filled, LATENT_DIM)
    mean = y.nanmean(0, keepdim=True)
    return {
        "mean frame": Result(mean.expand(y.shape), mean.expand(AHEAD, -1, -1, -1)),
        "LDS by SVD": Result(texture.decode(texture.states), texture.forecast(AHEAD)),
        "interpolation, last frame": Result(filled, filled[-1:].expand(AHEAD, -1, -1, -1)),
    }


def measure(video: Tensor, observed: Tensor, result: Result) -> dict[str, float]:
    """Return errors relative to the range, of hidden pixels, missing frames and the future."""
    past, ahead = video[:-AHEAD], video[-AHEAD:]
    missing = ~observed.flatten(1).any(1)

    def error(truth: Tensor, seen: Tensor, estimate: Tensor) -> RecoveryError:
        return recovery_error(truth.numpy(), seen.numpy(), estimate.numpy())

    pixels = error(past[~missing], observed[~missing], result.video[~missing])
    frames = error(past[missing], observed[missing], result.video[missing])
    unseen = torch.zeros_like(ahead, dtype=torch.bool)
    numbers = {
        "hidden pixels MAE": pixels.mae,
        "hidden pixels RMSE": pixels.rmse,
        "missing frames MAE": frames.mae,
        "missing frames RMSE": frames.rmse,
        "forecast RMSE, 1 ahead": error(ahead[:1], unseen[:1], result.ahead[:1]).rmse,
        f"forecast RMSE, 1 to {AHEAD} ahead": error(ahead, unseen, result.ahead).rmse,
    }
    if result.spread is not None:
        inside = (ahead - result.ahead).abs() < 2 * result.spread
        numbers["forecast within 2 sd"] = float(inside.float().mean())
    return numbers


def in_colour(frames: Tensor) -> NDArray[np.floating]:
    """Return frames (k, 3, h, w) as one picture, (h, w, 3) in [0, 1]."""
    return tile((frames.permute(0, 2, 3, 1).numpy() + 1) / 2, len(frames), pad=2)


def save_picture(
    path: Path, video: Tensor, y: Tensor, results: dict[str, Result], new: Tensor
) -> None:
    """Write some of the past with its recoveries, the future with its forecasts, a new video."""
    shown = slice(20, 20 + 16)
    panels = {"video": in_colour(video[shown]), "seen": in_colour(y[shown])}
    for name in ("two-stage", "joint", "LDS by SVD"):
        panels[f"recovered: {name}"] = in_colour(results[name].video[shown])
    panels["the last frames and those that follow"] = in_colour(video[-2 * AHEAD :])
    for name in ("joint", "LDS by SVD"):
        known = results[name].video[-AHEAD:]
        panels[f"recovered and forecast: {name}"] = in_colour(
            torch.cat([known, results[name].ahead])
        )
    panels["new, from the joint model"] = in_colour(new[shown])
    save_panels(path, panels)


def main() -> None:
    """Learn both ways, measure, write the picture and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="seconds, on a few frames")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--texture", default="flag")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("demo"))
    options = parser.parse_args()
    if options.smoke:
        options.epochs, options.width, options.draws = 3, 4, 3
    options.output.mkdir(parents=True, exist_ok=True)
    video = load_video(options.data, options.texture, options.smoke)
    past = video[:-AHEAD]
    observed = observed_cells(past, options.seed)
    y = torch.where(observed, past, torch.nan)
    results = baselines(y)
    minutes: dict[str, float] = {}
    for name, learn in (("two-stage", learn_two_stage), ("joint", learn_jointly)):
        began = time.process_time()
        model, latents = learn(y, options)
        results[name] = infer(model, latents, y, options)
        minutes[name] = (time.process_time() - began) / 60
    table: list[dict[str, object]] = []
    for name, result in results.items():
        numbers = measure(video, observed, result)
        print(f"{name}: {', '.join(f'{key} {value:.4f}' for key, value in numbers.items())}")
        row = {"model": name, **{key: round(value, 4) for key, value in numbers.items()}}
        if name in minutes:
            row["CPU minutes"] = round(minutes[name], 2)
        table.append(row)
    report = {
        "texture": options.texture,
        "past frames": len(past),
        "missing frames": int((~observed.flatten(1).any(1)).sum()),
        "epochs": options.epochs,
        "width": options.width,
        "noise": options.noise,
        "seed": options.seed,
        "results": table,
    }
    stem = options.output / f"video_dynamics-{options.texture}"
    new = model.generate(1, seed=options.seed)[0]
    save_picture(stem.with_suffix(".png"), video, y, results, new)
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"picture {stem.with_suffix('.png')}, table {stem.with_suffix('.json')}")


if __name__ == "__main__":
    main()
