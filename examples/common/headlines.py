"""One table of all experiments: ours beside the strongest other method of each.

    python -m examples.common.headlines

reads the rows in ``examples/results`` and writes the table into README.md and examples/README.md.
Ours is one method of each experiment, the same in all of its rows; the other is whichever is best
over all rows. Numbers are means over the seeds that were run.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from statistics import fmean, geometric_mean
from typing import Any, NamedTuple

from .folders import ROOT
from .seeds import over_seeds

RESULTS = ROOT / "examples" / "results"
PAGES = ("README.md", "examples/README.md")
BEGIN, END = "<!-- headlines -->", "<!-- end of headlines -->"

Row = dict[str, Any]
Value = Callable[[Any], float]


class Line(NamedTuple):
    """A line of the table: smaller numbers are better."""

    experiment: str
    measured: str
    ours: float
    other: str
    others: float


def table() -> str:
    """Return the table in Markdown."""
    lines = [
        "| experiment | measured (smaller is better) | ours | best other | | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for line in _lines():
        numbers = [_told(line.ours), line.other, _told(line.others)]
        lines.append(
            f"| {line.experiment} | {line.measured} | {' | '.join(numbers)} | "
            f"{line.ours / line.others:.2f} |"
        )
    return "\n".join(lines)


def _told(number: float) -> str:
    return f"{number:.3g}" if number >= 1 else f"{number:.4f}"


def _lines() -> Iterator[Line]:
    distance = "distance of statistics, 1 is more of the same"
    for number, name, things in ((1, "01_textures", "textures"), (2, "02_sounds", "sounds")):
        rows = _first_of_each(_rows(name), "name")
        ours = "blocks of latents, filter, noise"
        without = ("halves of the exemplar", "generator", "generator, filter, noise")
        yield _line(
            f"{number}. {len(rows)} {things}",
            distance,
            rows,
            ours,
            without,
            lambda found: found["distance"],
            geometric_mean,
        )
    faces = _rows("03_objects")[:1]
    latents = faces[0]["settings"]["rank"]
    for measured, value in (
        ("new faces, MMD² x 1000 of random features", lambda f: 1000 * f["random network"]["mmd"]),
        ("held-out faces, MAE", lambda f: f["mae"]),
    ):
        yield _line(
            f"3. faces, {latents} latents", measured, faces, "generator", ("training faces",), value
        )
    without = ("two-stage", "joint", "joint + kriging")
    for task, key, measured in (
        ("forecast", "rmse 1", "one frame ahead, RMSE"),
        ("forecast", "rmse 1 to 10", "1 to 10 frames ahead, RMSE"),
        ("half of the pixels", "rmse", "half of the pixels hidden, RMSE"),
        ("every second frame", "rmse", "every second frame missing, RMSE"),
    ):
        rows = [row for row in _rows("04_dynamics") if row["settings"]["task"] == task]
        yield _line(
            f"4. {len(rows)} motions",
            measured,
            rows,
            "two-stage + kriging",
            without,
            itemgetter(key),
        )
    yield from _each_row(
        "05_incomplete",
        "kind",
        "5. faces, {}",
        "hidden pixels of test faces, MAE",
        "generator, stacked",
        ("generator",),
        lambda found: found["new"]["mae"],
    )
    yield from _each_row(
        "06_indirect",
        "rank",
        "6. projected faces, {} latents",
        "test faces by their projections, MAE",
        "generator, Wiener",
        ("complete faces: Wiener", "complete faces: factors, Wiener"),
        lambda found: found["new"]["mae"],
    )
    yield from _each_row(
        "07_evaluation",
        "rank",
        "7. faces, {} latents",
        "held-out faces, MAE",
        "generator",
        (),
        itemgetter("mae"),
    )
    for gaps in ("random", "dependent", "real"):
        rows = _by_table(gaps)
        yield _line(
            f"{len(rows)} tables, gaps: {gaps}",
            "hidden numbers, CRPS",
            rows,
            "generator",
            ("generator, fixed weights",),
            lambda found: found["crps"],
            geometric_mean,
        )


def _each_row(
    name: str,
    key: str,
    experiment: str,
    measured: str,
    ours: str,
    without: Sequence[str],
    value: Value,
) -> Iterator[Line]:
    """Yield a line for each row, in the order of a setting, which ``experiment`` names."""
    for row in sorted(_rows(name), key=lambda row: row["settings"][key]):
        told = experiment.format(row["settings"][key])
        yield _line(told, measured, [row], ours, without, value)


def _line(
    experiment: str,
    measured: str,
    rows: Sequence[Row],
    ours: str,
    without: Sequence[str],
    value: Value,
    mean: Callable[[Sequence[float]], float] = fmean,
) -> Line:
    names = [n for n in rows[0]["methods"] if all(n in row["methods"] for row in rows)]
    means = {
        name: mean([value(row["methods"][name]) for row in rows])
        for name in names
        if name == ours or name not in without
    }
    found = means.pop(ours)
    best = min(means, key=lambda name: means[name])
    return Line(experiment, measured, found, best, means[best])


def _rows(name: str) -> list[Row]:
    return over_seeds(json.loads((RESULTS / f"{name}.json").read_text()))


def _first_of_each(rows: Sequence[Row], name: str) -> list[Row]:
    """Return the first row of each thing: those that follow tried other settings."""
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(row["settings"][name], row)
    return list(found.values())


def _by_table(gaps: str) -> list[Row]:
    """Return a row for each table that the generator filled, with methods of as many seeds."""
    rows = [
        row
        for row in _rows("tables")
        if row["settings"]["gaps"] == gaps and "crps" in row.get("scores", {})
    ]
    seeds = {
        row["settings"]["table"]: row["seeds"]
        for row in rows
        if row["settings"]["method"] == "generator"
    }
    found: dict[str, Row] = {}
    for row in rows:
        settings = row["settings"]
        if row["seeds"] == seeds.get(settings["table"]):
            found.setdefault(settings["table"], {})[settings["method"]] = row["scores"]
    return [{"methods": methods} for methods in found.values()]


def main() -> None:
    """Write the table into the pages that have it."""
    for name in PAGES:
        page = ROOT / name
        within = re.compile(f"(?<={re.escape(BEGIN)}\n\n).*?(?=\n\n{re.escape(END)})", re.DOTALL)
        text, count = within.subn(lambda _: table(), page.read_text())
        if count != 1:
            raise SystemExit(f"{name} must have {BEGIN} and {END} once, around a table")
        page.write_text(text)


if __name__ == "__main__":
    main()
