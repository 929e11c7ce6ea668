"""The tables and the picture of the examples."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Row = Mapping[str, Any]

THEIRS, OURS = "IterativeImputer", "GeneratorImputer"
COLORS = {THEIRS: "tab:orange", OURS: "tab:blue", f"{OURS}, fixed weights": "tab:green"}


def tables(rows: Sequence[Row]) -> str:
    """Return a Markdown table for each example."""
    parts = []
    for example, title in (
        ("missing-values", "Missing values (gallery)"),
        ("variants", "Variants of IterativeImputer (gallery)"),
    ):
        if some := _of(rows, example):
            parts.append(f"### {title}\n\n{_regressions(some)}")
    if some := _of(rows, "twice"):
        parts.append(f"### One column twice the other (user guide, docstring)\n\n{_twice(some)}")
    if some := _of(rows, "irises"):
        parts.append(f"### A tree with indicators (user guide)\n\n{_irises(some)}")
    if some := _of(rows, "multiple"):
        parts.append(f"### Multiple imputation\n\n{_multiple(some)}")
    return "\n\n".join(parts)


def picture(path: Path, rows: Sequence[Row]) -> None:
    """Write the gallery's bars, the lines of the user guide, and coefficients with their errors."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for axis, example, title in zip(
        axes[0, :2],
        ("missing-values", "variants"),
        ("missing values", "variants of IterativeImputer"),
        strict=True,
    ):
        _bars(axis, _of(rows, example), title)
    _coefficients(axes[0, 2], _of(rows, "multiple"))
    for axis, name in zip(axes[1, :2], (THEIRS, OURS), strict=True):
        _line(axis, _of(rows, "twice"), name)
    _accuracies(axes[1, 2], _of(rows, "irises"))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _of(rows: Iterable[Row], example: str) -> dict[str, list[Row]]:
    """Return an example's rows by imputer, in the order of their seeds."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["settings"]["seed"])):
        if row["settings"]["example"] == example:
            found.setdefault(row["settings"]["imputer"], []).append(row)
    return found


def _mean(values: Any) -> tuple[float, float]:
    """Return a mean with its standard error."""
    array = np.asarray(values, dtype=float).ravel()
    error = array.std(ddof=1) / np.sqrt(len(array)) if len(array) > 1 else float("nan")
    return float(array.mean()), float(error)


def _shown(values: Any, digits: int, sign: str = "") -> str:
    """Return a mean with its standard error, where there is more than one value."""
    mean, error = _mean(values)
    shown = f"{mean:{sign}.{digits}f}"
    return shown if np.isnan(error) else f"{shown} ± {error:.{digits}f}"


def _folds(rows: Sequence[Row]) -> Numbers:
    return np.concatenate([row["folds"] for row in rows])


def _seconds(rows: Sequence[Row]) -> str:
    return f"{np.mean([row['seconds'] for row in rows]):.1f}"


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    whole = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in whole)


def _regressions(some: Mapping[str, Sequence[Row]]) -> str:
    lines = []
    base = some.get(THEIRS, ())
    for name, rows in some.items():
        is_paired = name != THEIRS and len(rows) == len(base)
        cells = _cells(rows)
        lines.append(
            [
                f"**{name}**" if name == OURS else name,
                f"{_folds(rows).mean():.0f}",
                _shown(_folds(rows) - _folds(base), 0, "+") if is_paired else "",
                _shown(cells, 3) if cells.any() else "",
                _shown(cells - _cells(base), 3, "+") if is_paired and cells.any() else "",
                _seconds(rows),
            ]
        )
    more = f"more than {THEIRS}"
    return _table(["", "MSE of the target", more, "MSE of hidden cells", more, "seconds"], lines)


def _cells(rows: Sequence[Row]) -> Numbers:
    return np.concatenate([row["cells"] for row in rows])


def _twice(some: Mapping[str, Sequence[Row]]) -> str:
    lines = []
    for name, rows in some.items():
        if "error" in rows[0]:
            error = _shown([row["error"] for row in rows], 4)
            lines.append([name, "", "", error, _seconds(rows)])
        else:
            found = [rows[0][key] for key in ("user guide", "docstring")]
            shown = ["; ".join(" ".join(f"{v:.4g}" for v in r) for r in each) for each in found]
            lines.append([name, *shown, "", _seconds(rows)])
    return _table(["", "user guide", "docstring", "RMSE of hidden cells", "seconds"], lines)


def _irises(some: Mapping[str, Sequence[Row]]) -> str:
    base = np.concatenate([row["accuracy"] for row in some[THEIRS]])
    lines = []
    for name, rows in some.items():
        each = np.concatenate([row["accuracy"] for row in rows])
        is_paired = name != THEIRS and len(each) == len(base)
        difference = _shown(each - base, 3, "+") if is_paired else ""
        lines.append([name, f"{each.mean():.3f}", difference, _seconds(rows)])
    return _table(["", "accuracy", f"more than {THEIRS}", "seconds"], lines)


def _multiple(some: Mapping[str, Sequence[Row]]) -> str:
    lines = []
    for name, rows in some.items():
        numbers = [_shown([row[key] for row in rows], 2) for key in ("error", "claimed", "covered")]
        lines.append([name, *numbers, _seconds(rows)])
    return _table(["", "error", "claimed", "95 % intervals hold", "seconds"], lines)


def _bars(axis: Axes, some: Mapping[str, Sequence[Row]], title: str) -> None:
    for place, (name, rows) in enumerate(some.items()):
        mean, error = _mean(_folds(rows))
        axis.barh(place, mean, xerr=error, color=COLORS.get(name, "lightgrey"))
    axis.set_yticks(range(len(some)), list(some))
    axis.invert_yaxis()
    means = [_folds(rows).mean() for rows in some.values()]
    if means:
        axis.set_xlim(0.85 * min(means), 1.1 * max(means))
    axis.set_title(title)
    axis.set_xlabel("MSE of the target (axis not from 0)")


def _coefficients(axis: Axes, some: Mapping[str, Sequence[Row]]) -> None:
    for shift, (name, rows) in enumerate(some.items()):
        row = rows[0]
        places = np.arange(len(row["estimate"])) + 0.25 * (shift - 1)
        errors = 1.96 * np.asarray(row["standard_error"])
        axis.errorbar(
            places,
            row["estimate"],
            errors,
            fmt="o",
            markersize=3,
            label=name,
            color=COLORS.get(name),
        )
        axis.set_xticks(range(len(row["estimate"])))
    axis.axhline(0, color="grey", linewidth=0.5)
    axis.set_title("coefficients, 75 % hidden, pooled")
    axis.set_xlabel("column")
    if some:
        axis.legend(fontsize=7, loc="lower right")


def _line(axis: Axes, some: Mapping[str, Sequence[Row]], name: str) -> None:
    rows = some.get(f"{name}, 200 rows", ())
    if rows:
        points = np.asarray(rows[0]["points"])
        axis.plot([1, 10], [2, 20], color="grey", linewidth=0.5)
        axis.plot(*points.T, ".", color=COLORS[name])
    axis.set_title(f"y = 2x, filled rows: {name}")
    axis.set_xlabel("x")
    axis.set_ylabel("y")


def _accuracies(axis: Axes, some: Mapping[str, Sequence[Row]]) -> None:
    for place, (name, rows) in enumerate(some.items()):
        mean, error = _mean([row["accuracy"] for row in rows])
        axis.barh(place, mean, xerr=error, color=COLORS.get(name, "lightgrey"))
    axis.set_yticks(range(len(some)), list(some))
    axis.invert_yaxis()
    axis.set_xlim(0.5, 1)
    axis.set_title("irises, half of the cells hidden")
    axis.set_xlabel("accuracy of the tree (from .5)")
