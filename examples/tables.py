"""Incomplete tables: the generator beside the imputers that people use, on cells that were hidden.

Cells of real tables are hidden at random, depending on other columns, or as the table's own gaps
are. Every imputer draws them (twenty completed tables), and is scored on them: CRPS, RMSE, log
score, coverage and width of 90 % intervals, CPU seconds, the lines of code that a user writes. The
tables are scikit-learn's, statsmodels' and those of R's packages; rivals are scikit-learn's
imputers, R's mice, miceforest and hyperimpute. What is not installed is left out, and said.

    python examples/tables.py [--rows iris glass] [--gaps random] [--methods "mice pmm"] [--smoke]

A row is a table; each of its cells (method, gaps, seed) is kept as it is made, and one that is
there is not made again. ``--rows tuning`` are the tables on which settings may be chosen, ``--rows
unseen`` the others.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common.folders import ROOT
from common.rows import Rows
from comparison.gaps import GAPS, hide
from comparison.report import report
from comparison.rivals import METHODS, Settings
from comparison.rscript import NotInstalledError
from comparison.scores import scores
from comparison.tables import TABLES, Table, made_up

QUICK = {"epochs": 20, "num_draws": 10}
SMOKE = ("generator", "mean and mode", "KNN", "IterativeImputer", "mice pmm")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    choices = ["all", "tuning", "unseen", *TABLES]
    add("--rows", nargs="+", default=["all"], choices=choices, metavar="TABLE", help=f"{choices}")
    add("--gaps", nargs="+", default=list(GAPS), choices=list(GAPS))
    add("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    add("--draws", type=int, default=20, help="completed tables of each method")
    add("--seed", type=int, nargs="+", default=[0], help="of gaps and methods, one or more")
    add("--smoke", action="store_true", help="seconds, on a made-up table")
    add("--output", type=Path, default=ROOT / "examples" / "results")
    return parser.parse_args()


def chosen(names: list[str]) -> Iterator[Table]:
    """Yield the tables that are asked for."""
    for table in TABLES.values():
        if {"all", "tuning" if table.tuning else "unseen", table.name} & set(names):
            yield table


def add_rows(table: Table, options: argparse.Namespace, rows: Rows) -> None:
    """Make the rows of a table that are not there yet."""
    frame = table.load()
    for seed in options.seed:
        for gaps in options.gaps:
            if gaps == "real" and frame.notna().all(axis=None):
                continue
            given, hidden = hide(table.name, frame, gaps, seed)
            for name in options.methods:
                settings = {"table": table.name, "gaps": gaps, "method": name, "seed": seed}
                settings |= {"draws": options.draws, "tuning": table.tuning}
                if rows.find(settings) is not None:
                    continue
                imputed, seconds = METHODS[name].timed(
                    given, Settings(options.draws, seed, QUICK if options.smoke else {})
                )
                found = scores(frame, hidden, imputed)
                found |= {"seconds": seconds, "lines": METHODS[name].lines}
                rows.add(settings, {"source": table.source, "shape": frame.shape, "scores": found})
                shown = " ".join(f"{score} {value:.4g}" for score, value in found.items())
                print(f"{table.name}, {gaps}, seed {seed}, {name}: {shown}", flush=True)


def main() -> None:
    """Make the rows that are asked for, and the tables of all."""
    options = parsed()
    tables = list(chosen(options.rows))
    if options.smoke:
        tables = [Table("made up", "this script", made_up, tuning=True)]
        options.gaps = ["random"]
        options.output, options.draws = Path(tempfile.mkdtemp()), 4
        options.methods = [name for name in options.methods if name in SMOKE]
    missing = {}
    for name in options.methods:
        try:
            METHODS[name].check()
        except NotInstalledError as problem:
            missing[name] = str(problem)
    options.methods = [name for name in options.methods if name not in missing]
    rows = Rows(options.output / "tables.json")
    for table in tables:
        try:
            add_rows(table, options, rows)
        except NotInstalledError as problem:
            print(f"{table.name} is left out: {problem}", flush=True)
    text = report(rows.rows, list(METHODS), missing)
    (options.output / "tables.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
