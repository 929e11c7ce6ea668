"""Tables and pictures of hidden pixels that were filled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explainaway.plots import save_panels

from . import features
from .incomplete import Problem
from .new_faces import few
from .report import PARTS, from_best_to_worst, in_colour, in_grey, score_cells
from .scores import Reconstruction


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows, means over seeds, as a Markdown table, a line for each method and part."""
    lines = [
        "| holes | | | MAE | over kriging's | RMSE | over kriging's | CRPS | 50 % | 80 % | 95 % | "
        "minutes | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for part, called in PARTS.items():
            methods = row["methods"]
            best = min(method[part]["mae"] for method in methods.values())
            base = methods["kriging"][part]
            for name, method in methods.items():
                score, seconds = method[part], method.get("seconds of learning")
                cells = [
                    row["settings"]["kind"],
                    called,
                    name,
                    *score_cells(score, base, score["mae"] == best),
                    f"{seconds / 60:.1f}" if seconds else "",
                    f"{row['seeds']}",
                ]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_of_new_faces(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how near drawn faces (T2) are to faces that nothing has learned from."""
    drawn = (
        (row["settings"]["kind"], name, resemblance)
        for row in rows
        for name, resemblance in row.get("drawn", {}).items()
    )
    return features.table_of_new_faces("holes", drawn)


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
    shown = from_best_to_worst(errors, count)
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


def new_faces(path: Path, problem: Problem, drawn: Mapping[str, Tensor]) -> Path:
    """Write training faces as they were seen, and new faces by the methods that made them."""
    train = problem.train
    seen = torch.where(problem.observed[train], problem.faces[train], torch.nan)
    images = {"training faces as they were seen": seen}
    images |= {f"drawn: {name}": made for name, made in drawn.items()}
    return few(path, images)
