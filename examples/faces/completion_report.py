"""Tables and pictures of hidden pixels that were filled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explainaway.plots import save_panels

from .incomplete import Problem
from .report import in_colour, in_grey
from .scores import Reconstruction

GOALS = {"P": 1.0, "M": 0.85}
"""Of the best baseline's error, by kind of hole."""

PARTS = {"known": "T1", "new": "T2"}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table, a line for each method and part."""
    lines = [
        "| holes | | | MAE | over kriging's | RMSE | over kriging's | CRPS | 50 % | 80 % | 95 % | "
        "minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for part, called in PARTS.items():
            methods = row["methods"]
            best = min(method[part]["mae"] for method in methods.values())
            base = methods["kriging"][part]
            for name, method in methods.items():
                score, seconds = method[part], method.get("seconds of learning")
                mark = "**" if score["mae"] == best else ""
                cells = [
                    row["settings"]["kind"],
                    called,
                    name,
                    f"{mark}{score['mae']:.4f}{mark} ± {score['mae_error']:.4f}",
                    f"{score['mae'] / base['mae']:.3f}",
                    f"{score['rmse']:.4f}",
                    f"{score['rmse'] / base['rmse']:.3f}",
                    f"{score['crps']:.4f}",
                    *(f"{share:.3f}" for share in score["coverage"].values()),
                    f"{seconds / 60:.1f}" if seconds else "",
                ]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(
    path: Path, problem: Problem, part: slice, made: Mapping[str, Reconstruction], count: int = 10
) -> Path:
    """Write faces with holes, filled by methods, with errors and what the last is not sure of.

    Parameters
    ----------
    path : Path
        Of the PNG.
    problem : Problem
        The faces.
    part : slice
        Of which some are shown, evenly spaced by the last method's error.
    made : mapping of Reconstruction
        Filled faces, and the deviation of their pixels, by method.
    count : int, default 10
        How many are shown.
    """
    truth, hidden = problem.faces[part], problem.hidden(part)
    last = list(made.values())[-1]
    errors = ((last.mean - truth).abs() * hidden).flatten(1).sum(1)
    shown = errors.argsort()[torch.linspace(0, len(errors) - 1, min(count, len(errors))).long()]
    seen = torch.where(hidden, torch.nan, truth)
    drawn = {"observed": in_colour(seen[shown])}
    for name, reconstruction in made.items():
        filled = torch.where(hidden, reconstruction.mean, truth)
        drawn[f"{name}: hidden pixels filled, from well to badly"] = in_colour(filled[shown])
    drawn["the faces"] = in_colour(truth[shown])
    scale = "white is a quarter of the range"
    maps = {f"{name}: absolute error, {scale}": (made[name].mean - truth).abs() for name in made}
    maps[f"{name}: standard deviation of the prediction, {scale}"] = last.deviation
    limits = {}
    for label, values in maps.items():
        drawn[label] = in_grey(_where(hidden, values)[shown])
        limits[label] = (0.0, 0.25)
    return save_panels(path, drawn, limits=limits)


def _where(hidden: Tensor, values: Tensor) -> Tensor:
    """Return the mean over channels over the range (n, side, side), NaN where not hidden."""
    return torch.where(hidden[:, 0], values.mean(1) / 2, torch.nan)
