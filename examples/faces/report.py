"""Tables and pictures of what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explainaway.plots import save_panels, tile

GOALS = {20: 0.75, 60: 0.73, 100: 0.73, 200: 0.80}
"""MAE over PCA's, by the number of latents."""

PARTS = {"known": "T1", "new": "T3"}
"""What the scored parts of incomplete or indirect data are called: training faces, test faces.

As in the paper; T2 are new faces that are drawn from what was learned.
"""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows, means over seeds, as a Markdown table, a line for each method.

    Ratios are over PCA of the faces alone; percentages are coverages, minutes of learning and
    reconstruction.
    """
    lines = [
        "| d, epochs | | MAE | over PCA's | goal | RMSE | over PCA's | CRPS | 50 % | 80 % | 95 % | "
        "minutes | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row["settings"]["rank"]):
        d, methods = row["settings"]["rank"], row["methods"]
        best = min(method["mae"] for method in methods.values())
        base = methods["PCA"]
        for name, method in methods.items():
            seconds = method.get("seconds of learning", 0) + method.get("seconds of testing", 0)
            error, ratio, *others = score_cells(method, base, method["mae"] == best)
            cells = [
                f"{d}, {row['settings']['recipe']['epochs']}",
                name,
                error,
                ratio,
                f"{GOALS.get(d, '')}" if name == "generator" else "",
                *others,
                f"{seconds / 60:.1f}" if seconds else "",
                f"{row['seeds']}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def score_cells(score: Mapping[str, Any], base: Mapping[str, Any], is_best: bool) -> list[str]:
    """Return cells of a line: MAE and RMSE, each with its ratio to the base's, CRPS, coverages."""
    mark = "**" if is_best else ""
    return [
        f"{mark}{score['mae']:.4f}{mark} ± {score['mae_error']:.4f}",
        f"{score['mae'] / base['mae']:.3f}",
        f"{score['rmse']:.4f}",
        f"{score['rmse'] / base['rmse']:.3f}",
        f"{score['crps']:.4f}",
        *(f"{share:.3f}" for share in score["coverage"].values()),
    ]


def from_best_to_worst(errors: Tensor, count: int) -> Tensor:
    """Return so many places (or all), evenly spaced in the order of the errors (n,)."""
    return errors.argsort()[torch.linspace(0, len(errors) - 1, min(count, len(errors))).long()]


def picture(path: Path, truth: Tensor, made: Mapping[str, Tensor], count: int = 10) -> Path:
    """Write some images and their reconstructions, and how far the latter are off.

    Parameters
    ----------
    path : Path
        Of the PNG.
    truth : Tensor, (n, 3, side, side)
        In [-1, 1].
    made : mapping of Tensor
        Reconstructions of them by name.
    count : int, default 10
        How many are shown: those whose error by the first method is nearest to evenly spaced
        quantiles, from well to badly reconstructed.
    """
    first = next(iter(made.values()))
    shown = from_best_to_worst((first - truth).abs().flatten(1).mean(1), count)
    panels = {"faces, from the best reconstructed to the worst": truth[shown]}
    panels |= {name: mean[shown] for name, mean in made.items()}
    drawn = {name: in_colour(images) for name, images in panels.items()}
    limits = {}
    for name, mean in made.items():
        label = f"{name}: absolute error, white is a quarter of the range"
        drawn[label] = in_grey((mean - truth).abs().mean(1)[shown] / 2)
        limits[label] = (0.0, 0.25)
    return save_panels(path, drawn, limits=limits)


def in_colour(images: Tensor) -> Any:
    """Return images (n, 3, side, side) in [-1, 1] beside each other, in colour."""
    return tile((images.permute(0, 2, 3, 1).numpy() + 1) / 2, len(images), pad=2)


def in_grey(images: Tensor) -> Any:
    """Return images (n, side, side) beside each other."""
    return tile(images.numpy(), len(images), pad=2)
