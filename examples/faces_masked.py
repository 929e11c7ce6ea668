"""Faces learned from images with most of their pixels missing (the paper's Experiment 5).

Random 3x3 masks hide 50, 70 or 90 % of the pixels of every training face. A deconvolution network
is learned from what is left; the hidden pixels are then the posterior mean of the signal, averaged
over each face's chain in the last epochs of learning.

    python examples/faces_masked.py [--smoke] [--hidden 0.7] [--faces 500] [--epochs 80]

The data are ``faces64.npz`` with ``images`` (n, 64, 64, 3), bytes, in ``--data`` (by default
../shared/data beside the checkout). Without them the example says so; ``--smoke`` then makes up
smooth random images.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from faces.data import SIDE, load_images
from numpy.typing import NDArray

from explainaway.evaluation import RecoveryError, recovery_error
from explainaway.inference import MALA, AlternatingBackProp
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, deconvnet
from explainaway.plots import save_panels, tile

ROOT = Path(__file__).resolve().parents[1]
LATENT_DIM = 100
NOISE = 0.2


def load_faces(folder: Path, count: int, smoke: bool) -> NDArray[np.float32]:
    """Return the first faces, (n, 3, 64, 64) in [-1, 1]."""
    is_made_up = smoke and not (folder / "faces64.npz").is_file()
    images = load_images(folder, SIDE, count if is_made_up else None)[:count]
    return np.ascontiguousarray(images.numpy())


def block_holes(count: int, share: float, seed: int, side: int = 64) -> NDArray[np.bool_]:
    """Return masks (count, 1, side, side), true where observed, with 3x3 holes.

    Blocks are placed at random places until the asked share is hidden.
    """
    rng = np.random.default_rng(seed)
    observed = np.ones((count, 1, side, side), dtype=bool)
    for image in observed[:, 0]:
        while 1 - image.mean() < share:
            top, left = rng.integers(-2, side, 2)
            image[max(top, 0) : top + 3, max(left, 0) : left + 3] = False
    return observed


def learn_and_recover(
    faces: NDArray[np.float32], hidden: float, options: argparse.Namespace
) -> tuple[RecoveryError, NDArray[np.bool_], NDArray[np.float32], dict[str, float]]:
    """Learn from incomplete faces; return the errors, the mask, the recovery and some numbers."""
    observed = np.broadcast_to(block_holes(len(faces), hidden, options.seed), faces.shape)
    y = torch.from_numpy(np.where(observed, faces, np.float32(np.nan)))
    torch.manual_seed(options.seed)
    model = GeneratorModel(
        Normal(LATENT_DIM),
        deconvnet(LATENT_DIM, (3, 64, 64), width=options.width, batch_norm=True),
        Masked(Gaussian(scale=NOISE, inverse_link=torch.tanh)),
    )
    abp = AlternatingBackProp(
        model,
        kernel=MALA(),
        inference_steps=5,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, options.epochs),
        batch_size=50,
        compile="auto",
        precision="auto",
    )
    began = time.monotonic()
    fit = abp.fit(y, epochs=options.epochs, seed=options.seed)
    assert fit.mean_signal is not None
    recovered = fit.mean_signal.numpy()
    numbers = {
        "loss": fit.history["loss"][-1],
        "acceptance_rate": fit.history["acceptance_rate"][-1],
        "mean square of z": float(fit.latents.square().mean()),
        "minutes": (time.monotonic() - began) / 60,
    }
    return recovery_error(faces, observed, recovered), observed, recovered, numbers


def mean_face(faces: NDArray[np.float32], observed: NDArray[np.bool_]) -> RecoveryError:
    """Return the errors of the observed mean of each pixel."""
    mean = np.where(observed, faces, 0).sum(0) / np.maximum(observed.sum(0), 1)
    return recovery_error(faces, observed, np.broadcast_to(mean, faces.shape))


def main() -> None:
    """Run every share of hidden pixels; write the picture and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="seconds, on a few images")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--hidden", type=float, nargs="+", default=[0.5, 0.7, 0.9])
    parser.add_argument("--faces", type=int, default=500)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("demo"))
    options = parser.parse_args()
    if options.smoke:
        options.faces, options.width, options.epochs, options.hidden = 20, 4, 2, [0.7]
    options.output.mkdir(parents=True, exist_ok=True)
    faces = load_faces(options.data, options.faces, options.smoke)
    table: list[dict[str, object]] = []
    panels = {"faces": in_colour(faces)}
    for hidden in options.hidden:
        errors, observed, recovered, numbers = learn_and_recover(faces, hidden, options)
        baseline = mean_face(faces, observed)
        row = {
            "hidden": hidden,
            "faces": len(faces),
            "width": options.width,
            "epochs": options.epochs,
            "seed": options.seed,
            "mae": errors.mae,
            "rmse": errors.rmse,
            "mae of the mean face": baseline.mae,
            "rmse of the mean face": baseline.rmse,
            **numbers,
        }
        table.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
        print(
            f"{hidden:.0%} hidden: MAE {errors.mae:.4f}, RMSE {errors.rmse:.4f} of the range "
            f"(the mean face: {baseline.mae:.4f}, {baseline.rmse:.4f}); "
            f"{numbers['minutes']:.1f} minutes"
        )
        panels[f"{hidden:.0%} hidden"] = in_colour(np.where(observed, faces, np.nan))
        panels[f"{hidden:.0%} hidden: recovered"] = in_colour(np.where(observed, faces, recovered))
    path = save_panels(options.output / "faces_masked.png", panels)
    (options.output / "faces_masked.json").write_text(json.dumps(table, indent=1) + "\n")
    print(f"picture {path}, table {options.output / 'faces_masked.json'}")


def in_colour(images: NDArray[np.floating], count: int = 12) -> NDArray[np.floating]:
    """Return some images as one picture, (h, w, 3) in [0, 1]."""
    return tile((images[:count].transpose(0, 2, 3, 1) + 1) / 2, count, pad=2)


if __name__ == "__main__":
    main()
