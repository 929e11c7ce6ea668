"""How the five figures of learning are drawn from their numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from .coverage import LEVELS

Numbers = dict[str, Any]
Array = NDArray[np.float64]
LEAST_GAP = 1e-3
DRAWN_EVERY = 3
"""Epochs between two points with an error bar."""

STYLES = {
    "true θ": ("o", "k"),
    "one fit": ("s", "C3"),
    "one fit by the loop": ("P", "C1"),
    "fits of other seeds": ("v", "C4"),
    "fits to resamples": ("^", "C0"),
    "Laplace": ("D", "C2"),
    "Laplace, wider noise": ("*", "C5"),
}
"""Marker and colour of every way to be sure."""


class Coverage(NamedTuple):
    """Of one way for so many rows: mean and Monte Carlo error of each level, and seconds."""

    coverage: list[tuple[float, float]]
    seconds: float


def by_way(rows: Sequence[Numbers]) -> dict[tuple[int, str], Coverage]:
    """Return the coverage of each way, errors from the differences between data seeds."""
    found: dict[tuple[int, str], Coverage] = {}
    for key in dict.fromkeys((row["n"], row["way"]) for row in rows):
        some = [row for row in rows if (row["n"], row["way"]) == key]
        shares = _array([row["covered"] for row in some])
        spread = shares.std(0, ddof=1) if len(some) > 1 else np.zeros(len(LEVELS))
        pairs = zip(shares.mean(0).tolist(), (spread / len(some) ** 0.5).tolist(), strict=True)
        found[key] = Coverage(list(pairs), float(np.mean([row["seconds"] for row in some])))
    return found


def how_long(numbers: Numbers, path: Path) -> None:
    """Draw gap and gain on a logarithmic axis, the loss below."""
    figure, (above, below) = _panels(2, (7.5, 5.6), sharex=True)
    gain, error = _array(numbers["gain"]), _array(numbers["gain_error"])
    epochs = np.arange(1, len(gain) + 1)
    above.plot(epochs, numbers["gap"], "k", lw=2, label="true gap to the maximum")
    above.plot(epochs, gain.clip(LEAST_GAP / 2), "C0", label='fit.history["gain"]')
    above.fill_between(
        epochs,
        (gain - 2 * error).clip(LEAST_GAP / 2),
        (gain + 2 * error).clip(LEAST_GAP / 2),
        color="C0",
        alpha=0.2,
        lw=0,
        label="two standard errors",
    )
    above.axhline(0.01, color="C3", lw=0.8, ls=":", label="0.01: no gain that counts")
    above.set_yscale("log")
    above.set_ylim(LEAST_GAP, 2 * max(numbers["gap"]))
    above.set_ylabel("nats per example")
    below.plot(epochs, numbers["loss"], "C1", lw=1)
    late = _array(numbers["loss"])[len(epochs) // 8 :]
    below.set_ylim(late.min() - 0.2, late.max() + 0.2)
    below.set_ylabel("loss, nats per example")
    below.set_xlabel("epoch")
    for axis in (above, below):
        axis.axvline(numbers["falls_from"], color="0.4", lw=1, ls="--")
    below.text(numbers["falls_from"], below.get_ylim()[1], " the rate falls to zero", va="top")
    above.legend(fontsize=8)
    _save(figure, path)


def what_moves_slowly(numbers: Numbers, path: Path) -> None:
    """Draw the spread of the latents and the gap under both priors."""
    figure, (left, right) = _panels(2, (9, 3.4), across=True)
    for colour, name in zip(("C3", "C0"), ("Normal(d)", "Normal(d, learn=True)"), strict=True):
        run = numbers[name]
        epochs = np.arange(1, len(run["spread"]) + 1)
        left.plot(epochs, run["spread"], colour, label=name)
        least, most = _array(run["least_spread"]), _array(run["most_spread"])
        left.fill_between(epochs, least, most, color=colour, alpha=0.2, lw=0)
        right.plot(epochs, run["gap"], colour, label=name)
        right.axvline(run["falls_from"], color="0.4", lw=1, ls="--")
    left.axhline(1, color="k", lw=0.8, ls=":")
    left.set_yscale("log")
    left.set_yticks([0.5, 1, 2, 3, 5, 10], ["0.5", "1", "2", "3", "5", "10"])
    left.set_title("spread of the latents, in units of the prior's", fontsize=10)
    right.set_yscale("log")
    right.set_title("gap to the maximum, nats per example", fontsize=10)
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.set_xlabel("epoch")
    _save(figure, path)


def how_noisy(numbers: Numbers, path: Path) -> None:
    """Draw a learned scale and nats of hidden pixels, with held-out cells and without."""
    figure, (left, right) = _panels(2, (9, 3.4), across=True)
    for run in numbers["runs"]:
        first = run["seed"] == 0
        colour, name = ("C0", "cells held out") if run["hold_out"] else ("C3", "hold_out=None")
        epochs = np.arange(1, len(run["scale"]) + 1)
        left.plot(epochs, run["scale"], colour, lw=1, label=name if first else None)
        nats = f"{name}, all hidden pixels" if first else None
        right.plot(epochs, run["hidden_nats"], colour, lw=1, label=nats)
        if run["hold_out"] and first:
            seen, error = _array(run["held_out_nats"]), _array(run["held_out_error"])
            right.errorbar(
                epochs[::DRAWN_EVERY],
                seen[::DRAWN_EVERY],
                error[::DRAWN_EVERY],
                fmt="k.",
                ms=4,
                lw=0.8,
                label='fit.history["held_out_nats"]',
            )
        if first:
            left.annotate(
                f"hidden RMSE {run['rmse']:.2f}",
                (epochs[-1], run["scale"][-1]),
                xytext=(0, 12),
                textcoords="offset points",
                ha="right" if run["hold_out"] is None else "left",
                color=colour,
                fontsize=8,
            )
    left.set_ylim(0)
    left.set_title("noise scale", fontsize=10)
    right.set_yscale("log")
    right.set_title("nats per pixel", fontsize=10)
    left.legend(fontsize=8)
    right.legend(fontsize=8, loc="upper left")
    for axis in (left, right):
        axis.set_xlabel("epoch")
    _save(figure, path)


def how_wide(numbers: Numbers, path: Path) -> None:
    """Draw the differences of both scores to the best candidate."""
    figure, (axis,) = _panels(1, (7.5, 3.6))
    rows = numbers["candidates"]
    for colour, kind, shift, name in (
        ("C0", "held_out", -0.12, f"{numbers['held_out_cells']} held-out cells (compare_fits)"),
        ("k", "hidden", 0.12, f"{numbers['hidden_cells']:,} truly hidden cells"),
    ):
        axis.errorbar(
            [row[kind]["difference"] for row in rows],
            np.arange(len(rows)) + shift,
            xerr=[2 * row[kind]["difference_error"] for row in rows],
            fmt="o",
            ms=4,
            color=colour,
            label=name,
        )
    axis.set_yticks(range(len(rows)), [row["candidate"] for row in rows])
    axis.invert_yaxis()
    axis.axvline(0, color="0.4", lw=0.8)
    axis.set_xlabel("nats per cell above the best, with two standard errors of the difference")
    axis.legend(fontsize=8)
    _save(figure, path)


def how_sure(numbers: Numbers, path: Path) -> None:
    """Draw how far the coverage falls short of each level, by number of rows and way."""
    linear, network = by_way(numbers["linear"]), by_way(numbers["network"])
    sizes = list(dict.fromkeys(n for n, _ in linear))
    figure, axes = _panels(len(sizes) + 1, (11, 3.9), across=True, sharey=True)
    panels = [{way: c for (m, way), c in linear.items() if m == n} for n in sizes]
    panels.append({way: c for (_, way), c in network.items()})
    titles = [f"linear, {n:,} rows" for n in sizes] + [f"network, {next(iter(network))[0]} rows"]
    styles = {way: STYLES[way] for way in STYLES if any(way in panel for panel in panels)}
    places = np.arange(len(LEVELS))
    for axis, panel, title in zip(axes, panels, titles, strict=True):
        for number, (way, (marker, colour)) in enumerate(styles.items()):
            if way not in panel:
                continue
            pairs = zip(panel[way].coverage, LEVELS, strict=True)
            axis.errorbar(
                places + 0.1 * (number - (len(styles) - 1) / 2),
                [100 * (mean - level) for (mean, _), level in pairs],
                [100 * error for _, error in panel[way].coverage],
                fmt=marker,
                ms=5,
                lw=0.8,
                color=colour,
            )
        axis.axhline(0, color="0.4", lw=0.8)
        axis.set_xticks(places, [f"{level:.0%}" for level in LEVELS])
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("interval")
    axes[0].set_ylabel("coverage less the interval's, points")
    handles = [
        Line2D([], [], ls="", marker=marker, color=colour, label=way)
        for way, (marker, colour) in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    _save(figure, path)


def _panels(
    count: int,
    size: tuple[float, float],
    across: bool = False,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    rows, columns = (1, count) if across else (count, 1)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for axis in axes.flat:
        axis.grid(lw=0.3)
    return figure, list(axes.flat)


def _array(values: Sequence[Any]) -> Array:
    """Return numbers, NaN for None."""
    return np.array(values, dtype=np.float64)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110)
