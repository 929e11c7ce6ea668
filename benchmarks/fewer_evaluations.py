"""Network evaluations until the error of the paper's recipe is reached.

Han et al. (2017) learn with l = 10 Langevin steps of size .1 for each image and sweep, one gradient
step on all images after each of T = 600 sweeps, momentum .5, learning rate 1e-4. Here: the
library's defaults (adaptive MALA, a step after each minibatch by Adam). Both learn the same network
from the same 1,000 whole faces, and are judged by the same measure: 100 other faces with half of
their pixels hidden, recovered by the posterior mean of one HMC chain each, error relative to the
range.

    python benchmarks/fewer_evaluations.py [--smoke]

An evaluation is one energy with its gradient, in z or in θ, of one image. The faces are
``faces64.npz`` (key ``images``, (n, 64, 64, 3), bytes) in ``--data``.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from explainaway.data import load_images
from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    Langevin,
    SamplingWarning,
    sample_posterior,
)
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, deconvnet

ROOT = Path(__file__).resolve().parents[1]
LATENT_DIM = 100
NOISE = 0.3
PAPER_SWEEPS = 600


def load(source: Path, count: int, side: int, smoke: bool) -> Tensor:
    """Return faces (count, 3, side, side) in [-1, 1], made smaller by averaging."""
    shared = source / "faces64.npz"
    if smoke and not shared.is_file():
        generator = torch.Generator().manual_seed(0)
        return 2 * torch.rand(count, 3, side, side, generator=generator) - 1
    return load_images(shared, side, count=count)


def half_hidden(faces: Tensor) -> Tensor:
    """Return the faces with half of their pixels NaN."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.rand(len(faces), 1, *faces.shape[2:], generator=generator) < 0.5
    return torch.where(hidden, torch.nan, faces)


def held_out_error(network: torch.nn.Module, faces: Tensor, options: argparse.Namespace) -> float:
    """Return the root mean square error on hidden pixels, relative to the range."""
    observation = Masked(Gaussian(scale=NOISE, inverse_link=torch.tanh))
    model = GeneratorModel(Normal(LATENT_DIM), network, observation)
    y = half_hidden(faces)
    with warnings.catch_warnings():
        # A mean of the signal needs fewer draws than an interval would.
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = sample_posterior(
            model,
            y,
            kernel=HMC(num_leapfrog=10),
            num_chains=1,
            warmup_steps=options.chain_steps,
            num_samples=options.chain_steps,
            accumulate={"face": model.decode},
            progress=False,
        )
    recovered = posterior.accumulated["face"].mean
    error: Tensor = (recovered - faces)[y.isnan()] / 2
    return float(error.square().mean().sqrt())


def run(
    name: str,
    abp: AlternatingBackProp,
    network: torch.nn.Module,
    train: Tensor,
    held_out: Tensor,
    checked_after: Sequence[int],
    evaluations_per_sweep: int,
    options: argparse.Namespace,
    enough: Callable[[float], bool] = lambda error: False,
) -> list[dict[str, Any]]:
    """Learn, and measure the held-out error after some sweeps."""
    rows: list[dict[str, Any]] = []

    def check(abp: AlternatingBackProp, record: dict[str, float]) -> None:
        sweep = len(abp_history) + 1
        abp_history.append(record["loss"])
        if sweep in checked_after:
            mode = network.training
            error = held_out_error(network, held_out, options)
            network.train(mode)
            rows.append(
                {
                    "recipe": name,
                    "sweeps": sweep,
                    "evaluations": sweep * evaluations_per_sweep,
                    "seconds": round(record["seconds"], 1),
                    "error": round(error, 5),
                    "loss": round(record["loss"], 2),
                }
            )
            print(json.dumps(rows[-1]), flush=True)

    abp_history: list[float] = []
    abp.fit(
        train,
        epochs=checked_after[-1],
        seed=options.seed,
        callbacks=[check],
        stop=lambda history: bool(rows) and enough(rows[-1]["error"]),
        progress=False,
    )
    return rows


def build(options: argparse.Namespace) -> tuple[GeneratorModel, torch.nn.Module]:
    """Return the same untrained network for every recipe."""
    torch.manual_seed(options.seed)
    shape = (3, options.side, options.side)
    network = deconvnet(LATENT_DIM, shape, width=options.width, batch_norm=True)
    observation = Gaussian(scale=NOISE, inverse_link=torch.tanh)
    return GeneratorModel(Normal(LATENT_DIM), network, observation), network


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the error against evaluations and against seconds."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        some = [row for row in rows if row["recipe"] == recipe]
        for axis, x in zip(axes, ("evaluations", "seconds"), strict=True):
            axis.plot([r[x] for r in some], [r["error"] for r in some], "o-", ms=3, label=recipe)
            axis.set_xscale("log")
    axes[0].set_xlabel("network evaluations of each image")
    axes[1].set_xlabel("seconds of learning")
    axes[0].set_ylabel("held-out RMSE / range")
    axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the paper's recipe, then ours until it is as good; write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="seconds, on a few images")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--faces", type=int, default=1000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sweeps", type=int, default=PAPER_SWEEPS)
    parser.add_argument("--chain-steps", type=int, default=60)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if options.smoke:
        options.faces, options.side, options.width = 20, 16, 4
        options.sweeps, options.chain_steps = 4, 5
    torch.set_num_threads(options.threads)
    faces = load(options.data, options.faces + 100, options.side, options.smoke)
    train, held_out = faces[: options.faces], faces[options.faces :]
    checks = sorted({max(1, round(options.sweeps * f)) for f in (1, 0.5, 0.25, 0.1, 0.04)})

    began = time.monotonic()
    model, network = build(options)
    paper = AlternatingBackProp(
        model,
        Langevin(step_size=0.1),
        inference_steps=10,
        optimizer=torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.5),
        batch_size=options.faces,
    )
    rows = run("paper", paper, network, train, held_out, checks, 11, options)
    target = min(row["error"] for row in rows)

    model, network = build(options)
    ours = AlternatingBackProp(
        model,
        MALA(),
        inference_steps=5,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        batch_size=50,
    )
    # Start, l proposals, one gradient of θ.
    checks = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 188]
    rows += run(
        "explainaway",
        ours,
        network,
        train,
        held_out,
        checks,
        7,
        options,
        enough=lambda error: error <= target,
    )

    last = rows[-1]
    summary = {
        "faces": options.faces,
        "side": options.side,
        "width": options.width,
        "seed": options.seed,
        "threads": options.threads,
        "paper's best error": target,
        "reached": last["error"] <= target,
        "share of the evaluations": round(last["evaluations"] / (11 * options.sweeps), 4),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "rows": rows,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "fewer_evaluations.json").write_text(json.dumps(summary, indent=1) + "\n")
    draw(rows, options.output / "fewer_evaluations.png")
    print({key: value for key, value in summary.items() if key != "rows"})


if __name__ == "__main__":
    main()
