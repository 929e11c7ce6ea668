"""The table and the picture of faces from projections."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faces import features
from faces.new_faces import few
from faces.report import PARTS, from_best_to_worst, in_colour, in_grey, score_cells
from faces.scores import Reconstruction
from torch import Tensor

from explainaway.plots import save_panels

from .methods import Evaluated
from .problem import Problem

DRAWN = "Wiener", "probabilistic PCA", "generator, Wiener"
"""Of the methods that draw faces, those that are shown."""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows, means over seeds, as a Markdown table, a line for each method and part.

    Ratios are over the Wiener estimate; percentages are coverages.
    """
    lines = [
        "| d, side | | | MAE | over Wiener's | RMSE | over Wiener's | CRPS | 50 % | 80 % | 95 % | "
        "held-out RMSE | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        settings, methods = row["settings"], row["methods"]
        for part, called in PARTS.items():
            base = methods["Wiener"][part]
            fair = {name: each for name, each in methods.items() if not name.startswith("complete")}
            best = min(method[part]["mae"] for method in fair.values())
            for name in sorted(methods, key=lambda name: name not in fair):
                method = methods[name]
                if name not in fair and part == "known":
                    continue
                score = method[part]
                cells = [
                    f"{settings['rank']}, {settings['side']}",
                    called,
                    name,
                    *score_cells(score, base, name in fair and score["mae"] == best),
                    f"{method['held-out RMSE']:.4f}",
                    f"{row['seeds']}",
                ]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_of_new_faces(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how near drawn faces (T2) are to faces that nothing has learned from."""
    drawn = []
    for row in rows:
        settings, methods = row["settings"], row["methods"]
        found = {name: each["drawn"] for name, each in methods.items() if "drawn" in each}
        if "training faces" in row:
            found["training faces"] = row["training faces"]
        first = f"{settings['rank']}, {settings['side']}"
        drawn += [(first, name, resemblance) for name, resemblance in found.items()]
    lines: str = features.table_of_new_faces("d, side", drawn)
    return lines


def picture(path: Path, truth: Tensor, made: Mapping[str, Reconstruction], count: int = 10) -> Path:
    """Write some test faces, reconstructed by methods, with errors and the last one's doubts.

    Parameters
    ----------
    path : Path
        Of the PNG.
    truth : Tensor, (n, 3, side, side)
        In [-1, 1].
    made : mapping of Reconstruction
        By method.
    count : int, default 10
        How many are shown, evenly spaced by the last method's error.
    """
    last = list(made.values())[-1]
    shown = from_best_to_worst((last.mean - truth).abs().flatten(1).mean(1), count)
    drawn = {"test faces, from the best reconstructed to the worst": in_colour(truth[shown])}
    drawn |= {name: in_colour(each.mean[shown]) for name, each in made.items()}
    scale = "white is a quarter of the range"
    error = (last.mean - truth).abs().mean(1)[shown] / 2
    maps = {
        f"{list(made)[-1]}: absolute error, {scale}": error,
        f"its standard deviation, {scale}": last.deviation.mean(1)[shown] / 2,
    }
    drawn |= {name: in_grey(each) for name, each in maps.items()}
    return save_panels(path, drawn, limits=dict.fromkeys(maps, (0.0, 0.25)))


def new_faces(path: Path, problem: Problem, made: Mapping[str, Evaluated]) -> Path:
    """Write training faces, what their projections say, and faces that methods have drawn."""
    places = problem.parts()["known"]
    told = made["pseudo-inverse"].parts["known"].mean
    images = {"training faces": problem.faces[places], "what their projections say": told}
    drawn = {name: each.drawn for name, each in made.items() if each.drawn is not None}
    images |= {f"drawn: {name}": drawn[name] for name in DRAWN}
    few(path, images)
    return path
