"""The table and the figure of the rows."""

from collections.abc import Sequence
from pathlib import Path
from statistics import stdev

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from .problems import HELD_OUT, KNOWN
from .runs import Row

MARKERS = "os^Dvp*Xhd<"


def markdown(rows: Sequence[Row]) -> str:
    """Return the tables in Markdown: means over seeds."""
    seeds = sorted({row["seed"] for row in rows})
    versions = sorted({row["code"] for row in rows})
    lines = [
        "# Learning",
        "",
        "Made by `python -m benchmarks.learning`: one thread, seed 0, or means over the seeds "
        f"{', '.join(map(str, seeds))} ± their standard error. Digest of the library's code: "
        f"{', '.join(versions)}.",
        "",
        "## How far below the maximum",
        "",
        "Nats per example below the maximum of the exact marginal likelihood; in the last line the "
        "standard error of the mean log-likelihood of so many examples.",
        "",
        *_table(rows, list(KNOWN), "gap", ".2g"),
        _errors(rows),
        "",
        "## Hidden cells",
        "",
        "Nats per hidden cell, `-log p(cell | observed cells)`, of 20 or 40 posterior draws; "
        "smaller is better.",
        "",
        *_table(rows, list(HELD_OUT), "nats", ".3f"),
        "",
        "Root mean square error of the hidden cells:",
        "",
        *_table(rows, list(HELD_OUT), "rmse", ".3f"),
        "",
        "Relative Fréchet distance of generated to real examples (0: the same moments; 1: as far "
        "as a constant at the mean):",
        "",
        *_table(rows, list(HELD_OUT), "frechet", ".3f"),
        "",
        "## What it took",
        "",
        "Epochs, seconds, and `Fit.converged` where a version tells it:",
        "",
        *_table(rows, [*KNOWN, *HELD_OUT]),
    ]
    return "\n".join(lines) + "\n"


def _table(
    rows: Sequence[Row], problems: Sequence[str], name: str = "", form: str = ""
) -> list[str]:
    """Return a table of a number, the smallest of each column in bold, or of what it took."""
    there = [problem for problem in problems if any(row["problem"] == problem for row in rows)]
    lines = ["| | " + " | ".join(there) + " |", "|---|" + "---|" * len(there)]
    cells: dict[str, list[str]] = {candidate: [] for candidate in _candidates(rows)}
    for problem in there:
        found = {candidate: _found(rows, problem, candidate) for candidate in cells}
        means = {
            candidate: _mean(some, name)
            for candidate, some in found.items()
            if name and some and not _failed(some)
        }
        for candidate, some in found.items():
            if candidate in means:
                number = format(means[candidate], form)
                told = f"**{number}**" if means[candidate] == min(means.values()) else number
                told += _over_seeds(some, name)
            else:
                told = "fails" if _failed(some) else _taken(some) if some else ""
            cells[candidate].append(told)
    lines += [f"| {name} | " + " | ".join(told) + " |" for name, told in cells.items() if any(told)]
    return lines


def _candidates(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["candidate"] for row in rows))


def _found(rows: Sequence[Row], problem: str, candidate: str) -> list[Row]:
    return [r for r in rows if (r["problem"], r["candidate"]) == (problem, candidate)]


def _failed(rows: Sequence[Row]) -> bool:
    return any("error" in row for row in rows)


def _errors(rows: Sequence[Row]) -> str:
    by_problem = {row["problem"]: row["standard_error"] for row in rows if "gap" in row}
    there = [name for name in KNOWN if any(row["problem"] == name for row in rows)]
    cells = [f"{by_problem[name]:.2g}" if name in by_problem else "" for name in there]
    return "| *standard error* | " + " | ".join(cells) + " |"


def _mean(rows: Sequence[Row], name: str) -> float:
    return sum(float(row[name]) for row in rows) / len(rows)


def _over_seeds(rows: Sequence[Row], name: str) -> str:
    """Return the standard error of a mean over seeds, nothing of one seed's."""
    if len(rows) == 1:
        return ""
    values = [float(row[name]) for row in rows]
    return f" ± {stdev(values) / len(rows) ** 0.5:.1g}"


def _taken(rows: list[Row]) -> str:
    told = {row["converged"] for row in rows if row["converged"] is not None}
    verdict = f", {' / '.join(map(str, sorted(told)))}" if told else ""
    return f"{_mean(rows, 'epochs'):.0f}, {_mean(rows, 'seconds'):.0f} s{verdict}"


def figure(rows: Sequence[Row], path: Path) -> None:
    """Draw gaps, nats per hidden cell above the best candidate's, and generation distances."""
    rows = [row for row in rows if "error" not in row]
    panels = (
        ("nats per example below the maximum", list(KNOWN), "gap", 1e-4),
        ("nats per hidden cell above the best", list(HELD_OUT), "nats", 1e-3),
        ("relative Fréchet distance", list(HELD_OUT), "frechet", 1e-3),
    )
    candidates = _candidates(rows)
    drawn, axes = plt.subplots(1, 3, figsize=(13, 4.5), layout="constrained")
    for axis, (title, problems, name, least) in zip(axes, panels, strict=True):
        there = [p for p in problems if any(row["problem"] == p for row in rows)]
        for place, problem in enumerate(there):
            values = {
                candidate: _mean(found, name)
                for candidate in candidates
                if (found := _found(rows, problem, candidate))
            }
            best = min(values.values()) if name == "nats" else 0.0
            for number, candidate in enumerate(candidates):
                if candidate in values:
                    axis.plot(
                        max(values[candidate] - best, least),
                        place + 0.06 * (number - len(candidates) / 2),
                        MARKERS[number % len(MARKERS)],
                        color=f"C{number % 10}",
                        ms=6,
                    )
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_yticks(range(len(there)), there)
        axis.invert_yaxis()
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", lw=0.3)
    handles = [
        Line2D([], [], ls="", marker=MARKERS[k % len(MARKERS)], color=f"C{k % 10}", label=name)
        for k, name in enumerate(candidates)
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    drawn.savefig(path, dpi=90)
    plt.close(drawn)
