"""Coverage of the intervals of hidden cells, and what the reason of gaps does to them.

Two questions of ``GeneratorImputer``, for ``docs/table_intervals.md``:

- *Coverage*: 30 % of the cells of three of scikit-learn's tables are hidden at random; how many of
  them lie in their 50, 80 and 90 % intervals, with weights drawn (``proper``) and without, and at
  what cost.
- *Gaps*: a made-up table of three correlated normal columns, of which the third has gaps: at
  random; where another column is large; where it is large itself; and below a limit of detection,
  with the limit told and not. ``y Gaussian``: y's kind is given.

    python benchmarks/table_coverage.py [--seeds 1] [--tables 3] [--weights drawn fixed] [--smoke]

What is in the JSON file is not made again. Standard errors are over rows (cells of a row depend on
each other) and, for the gaps, over tables. Times are of the CPU, one thread.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn import datasets

from explainaway.models import Censored, Gaussian
from explainaway.tables import GeneratorImputer

RESULTS = Path(__file__).resolve().parent / "results"
COMMIT = subprocess.run(
    ["git", "describe", "--always", "--dirty"], cwd=RESULTS, capture_output=True, text=True
).stdout.strip()
LEVELS = (0.5, 0.8, 0.9)
SHARE = 0.3
TABLES: tuple[str, ...] = ("iris", "wine", "diabetes")
GAPS = (
    "at random",
    "where x1 is large",
    "where x1 is large, y Gaussian",
    "where y is large",
    "below a limit",
    "limit told",
    "limit told, y Gaussian",
)
NUM_ROWS = 300

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Share(NamedTuple):
    """A share of cells with its standard error over rows."""

    share: float
    error: float


def covered(inside: Mask, hidden: Mask) -> Share:
    """Return the share of hidden cells, (n, columns), that are inside their intervals."""
    cells = hidden.sum()
    share = (inside & hidden).sum() / cells
    by_row = np.where(hidden, inside - share, 0.0).sum(1)
    return Share(float(share), float(np.sqrt((by_row**2).sum()) / cells))


def coverage(
    name: str, weights: str, seed: int, settings: dict[str, Any], num_rows: int | None
) -> dict[str, Any]:
    """Return coverage and mean width of intervals of a table's hidden cells, and seconds."""
    truth = getattr(datasets, f"load_{name}")().data[:num_rows]
    noise = np.random.default_rng(seed)
    hidden = noise.random(truth.shape) < SHARE
    hidden[hidden.all(1), 0] = False
    given = np.where(hidden, np.nan, truth)
    start = time.process_time()
    proper = weights == "drawn"
    imputer = GeneratorImputer(proper=proper, random_state=seed, **settings).fit(given)
    learned = time.process_time()
    # The draws behind ``imputer.intervals``, once for all levels.
    draws = np.stack(imputer.sample(given, num_draws=imputer.num_draws))
    drawn = time.process_time()
    result: dict[str, Any] = {"fit": learned - start, "draw": drawn - learned, "coverage": {}}
    for level in LEVELS:
        ends = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
        inside = (ends[0] <= truth) & (truth <= ends[1])
        width = ((ends[1] - ends[0]) / truth.std(0))[hidden].mean()
        result["coverage"][str(level)] = {**covered(inside, hidden)._asdict(), "width": width}
    return result


def correlated(seed: int, num_rows: int) -> pd.DataFrame:
    """Return x1, x2 and y, each N(0, 1), y correlated by .7 and .4 with the others."""
    noise = np.random.default_rng(seed)
    x = noise.normal(size=(num_rows, 2))
    y = x @ [0.7, 0.4] + np.sqrt(1 - 0.65) * noise.normal(size=num_rows)
    return pd.DataFrame({"x1": x[:, 0], "x2": x[:, 1], "y": y})


def with_gaps(gaps: str, truth: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, Mask, Any]:
    """Return the table with gaps in y, which they are, and its limits (None: none are told)."""
    noise = np.random.default_rng([seed, 1])
    y, limit = truth["y"].to_numpy(), float(truth["y"].quantile(SHARE))
    if gaps == "at random":
        hidden = noise.random(len(y)) < SHARE
    elif gaps.startswith("where x1 is large"):
        hidden = (truth["x1"] > truth["x1"].quantile(1 - SHARE)).to_numpy()
    elif gaps == "where y is large":
        hidden = y > np.quantile(y, 1 - SHARE)
    else:
        hidden = y < limit
    # A cell that stands at its limit is known only to lie beyond.
    told = gaps.startswith("limit told")
    given = truth.assign(y=np.where(hidden, limit if told else np.nan, y))
    return given, hidden, {"y": (limit, None)} if told else None


def filled(gaps: str, seed: int, settings: dict[str, Any], num_rows: int) -> dict[str, float]:
    """Return what gaps in y do to its mean and spread, and how often intervals hold y."""
    truth = correlated(seed, num_rows)
    given, hidden, limits = with_gaps(gaps, truth, seed)
    gaussian = Censored(Gaussian()) if limits else Gaussian()
    kinds: dict[Any, Any] = {"y": gaussian} if gaps.endswith("y Gaussian") else {}
    imputer = GeneratorImputer(kinds, random_state=seed, **settings).fit(given, limits=limits)
    draws = imputer.sample(given, num_draws=imputer.num_draws, limits=limits)
    cells = np.stack([draw["y"].to_numpy() for draw in draws])
    lower, upper = np.quantile(cells, [0.05, 0.95], axis=0, method="weibull")
    y = truth["y"].to_numpy()
    return {
        "mean of the rest": float(y[~hidden].mean() - y.mean()),
        "mean": float(cells.mean() - y.mean()),
        "spread": float(cells.std(1).mean() / y.std()),
        "covered": float(((lower <= y) & (y <= upper))[hidden].mean()),
    }


class Kept:
    """Rows of a JSON file; what is there is not made again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def of(self, settings: dict[str, Any], made: Any) -> None:
        """Make a row unless there is one of these settings, and write the file."""
        if all(row["settings"] != settings for row in self.rows):
            self.rows.append({"settings": settings, "result": made(), "commit": COMMIT})
            self.path.write_text(json.dumps(self.rows, indent=1) + "\n")
            print(settings, flush=True)


def coverage_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return coverage by table and weights: means over seeds, in Markdown."""
    levels = " | ".join(f"{100 * level:.0f} %" for level in LEVELS)
    lines = [
        f"| table | weights | {levels} | width of 90 % | fit, s | 200 draws, s |",
        "|---|---|" + "---|" * (len(LEVELS) + 3),
    ]
    keys = dict.fromkeys((row["settings"]["table"], row["settings"]["weights"]) for row in rows)
    for table, weights in keys:
        some = [
            row["result"]
            for row in rows
            if (row["settings"]["table"], row["settings"]["weights"]) == (table, weights)
        ]
        cells = []
        for level in map(str, LEVELS):
            parts = [each["coverage"][level] for each in some]
            error = np.sqrt(sum(part["error"] ** 2 for part in parts)) / len(parts)
            cells.append(f"{np.mean([part['share'] for part in parts]):.3f} ± {error:.3f}")
        widths = [each["coverage"][str(LEVELS[-1])]["width"] for each in some]
        times = [np.mean([each[name] for each in some]) for name in ("fit", "draw")]
        cells += [f"{np.mean(widths):.2f}", *(f"{seconds:.1f}" for seconds in times)]
        lines.append(f"| {table} | {weights} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gaps_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return what gaps do: means over tables with standard errors, in Markdown."""
    lines = [
        "| y is missing | mean of what is left | mean, filled | spread, filled | 90 % intervals "
        "hold |",
        "|---|---|---|---|---|",
    ]
    for gaps in dict.fromkeys(row["settings"]["gaps"] for row in rows):
        some = pd.DataFrame([r["result"] for r in rows if r["settings"]["gaps"] == gaps])
        mean, error = some.mean(), some.std() / np.sqrt(len(some))
        cells = [f"{mean[name]:.2f} ± {error[name]:.2f}" for name in some]
        lines.append(f"| {gaps} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Make the rows that are missing, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="of the gaps in scikit-learn's tables")
    parser.add_argument("--tables", type=int, default=3, help="made up for each kind of gaps")
    parser.add_argument("--weights", nargs="+", default=["drawn", "fixed"])
    parser.add_argument("--smoke", action="store_true", help="seconds, nothing kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder, settings, num_rows, tables = RESULTS, {}, NUM_ROWS, TABLES
    if options.smoke:
        folder, num_rows, tables = Path(tempfile.mkdtemp()), 40, ("iris",)
        settings = {"epochs": 5, "num_draws": 20}
        options.tables = 2
    kept = Kept(folder / "table_coverage.json")
    for seed in range(options.seeds):
        for table in tables:
            for weights in options.weights:
                kept.of(
                    {"table": table, "weights": weights, "seed": seed},
                    lambda t=table, w=weights, s=seed: coverage(
                        t, w, s, settings, num_rows if options.smoke else None
                    ),
                )
    for seed in range(options.tables):
        for gaps in GAPS:
            kept.of(
                {"gaps": gaps, "seed": seed},
                lambda g=gaps, s=seed: filled(g, s, settings, num_rows),
            )
    text = "\n\n".join(
        make([row for row in kept.rows if name in row["settings"]])
        for make, name in ((coverage_table, "table"), (gaps_table, "gaps"))
    )
    (folder / "table_coverage.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
