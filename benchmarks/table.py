"""Rows of the benchmark's table, and how they are written."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt

from .paired import Ratio


class Row(NamedTuple):
    """One comparison.

    Attributes
    ----------
    section : str
        Heading under which it stands.
    case : str
        Model and size.
    what : str
        Both sides, as "ours / theirs" or "theirs / ours".
    ratio : Ratio
        What was measured.
    goal : float or None
        What it shall be at most, or at least where ``larger_is_better``.
    larger_is_better : bool
        Whether the ratio is a speed-up.
    """

    section: str
    case: str
    what: str
    ratio: Ratio
    goal: float | None = None
    larger_is_better: bool = False

    @property
    def verdict(self) -> str:
        """Whether the goal is met; empty without a goal."""
        if self.goal is None:
            return ""
        met = (
            self.ratio.median >= self.goal
            if self.larger_is_better
            else self.ratio.median <= self.goal
        )
        sign = "≥" if self.larger_is_better else "≤"
        return f"{sign} {self.goal:g}: {'met' if met else 'missed'}"


def write(rows: Sequence[Row], machine: dict[str, Any], folder: Path) -> None:
    """Write ``bench.json``, ``bench.md`` and ``bench.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine,
        "rows": [
            {
                "section": row.section,
                "case": row.case,
                "what": row.what,
                "median": round(row.ratio.median, 4),
                "low": round(row.ratio.low, 4),
                "high": round(row.ratio.high, 4),
                "pairs": row.ratio.pairs,
                "goal": row.goal,
                "verdict": row.verdict,
            }
            for row in rows
        ],
    }
    (folder / "bench.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "bench.md").write_text(markdown(rows, machine))
    draw(rows, folder / "bench.png")


def markdown(rows: Iterable[Row], machine: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Paired ratios: both sides in turn in one process, median and its interval of at least "
        "95 %. "
        + "; ".join(f"{name}: {value}" for name, value in machine.items())
        + ". Made by `make bench`.",
        "",
    ]
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", f"## {section}", "", "| case | ratio | | interval | goal |"]
            lines += ["|---|---|---:|---|---|"]
        ratio = row.ratio
        lines.append(
            f"| {row.case} | {row.what} | {ratio.median:.3g} | {ratio.low:.3g} to {ratio.high:.3g} "
            f"({ratio.pairs}) | {row.verdict} |"
        )
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw every ratio with its interval and goal."""
    figure, axis = plt.subplots(figsize=(9, 0.32 * len(rows) + 1), layout="constrained")
    for place, row in enumerate(reversed(rows)):
        met = "missed" not in row.verdict
        axis.plot(
            [row.ratio.low, row.ratio.high], [place, place], color="C0" if met else "C3", lw=3
        )
        axis.plot(row.ratio.median, place, "o", color="C0" if met else "C3", ms=4)
        if row.goal is not None:
            axis.plot(row.goal, place, "|", color="black", ms=11)
    axis.set_yticks(range(len(rows)), [f"{row.case}: {row.what}" for row in reversed(rows)])
    axis.tick_params("y", labelsize=7)
    axis.set_xscale("log")
    axis.axvline(1, color="grey", lw=0.5)
    axis.set_xlabel("ratio (goal: black tick)")
    figure.savefig(path, dpi=100)
    plt.close(figure)
