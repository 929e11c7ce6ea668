"""Learn every problem by every candidate, and write rows, table and figure.

    python -m benchmarks.learning [--problems a,b] [--candidates x,y] [--seeds 0,1] [--smoke]

Writes ``learning.json`` row by row: a run that was interrupted goes on, and rows that are there
are not made again unless asked by ``--again``. ``learning.md`` and ``learning.png`` are made of all
rows of the file. One thread.
"""

import argparse
import json
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import torch

from . import held_out_problems
from .candidates import CANDIDATES
from .known import NotAvailableError
from .problems import HELD_OUT, KNOWN
from .report import figure, markdown
from .runs import Row, code_digest, row_of

RESULTS = Path(__file__).parents[1] / "results"
SMOKE_PROBLEMS = ["ppca", "random_intercepts", "diabetes_mlp"]


def main() -> None:
    """Make the rows that are asked for and not there."""
    options = _options()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "learning.json"
    rows: list[Row] = json.loads(path.read_text()) if path.is_file() else []
    makers: dict[str, Any] = {**KNOWN, **HELD_OUT}
    if options.data is not None:
        makers["faces_hole"] = partial(held_out_problems.faces_hole, options.data)
    began = time.monotonic()
    for name in options.problems:
        try:
            problem = makers[name]()
        except NotAvailableError as error:
            print(f"{name}: left out, there is no {error}", flush=True)
            continue
        for candidate in (CANDIDATES[one] for one in options.candidates):
            for seed in options.seeds:
                key = (name, candidate.name, seed)
                there = [row for row in rows if _key(row) == key]
                if there and not options.again:
                    continue
                try:
                    row = row_of(problem, candidate, seed, options.smoke)
                except NotAvailableError as error:
                    print(f"{name}, {candidate.name}: left out, no {error}", flush=True)
                    break
                except (ValueError, RuntimeError) as error:
                    # A run that fails is a result too.
                    row = dict(zip(("problem", "candidate", "seed"), key, strict=True))
                    row["code"] = code_digest()
                    row["error"] = f"{type(error).__name__}: {error}"[:300]
                rows = [other for other in rows if _key(other) != key] + [row]
                _write(_in_order(rows), path)
                print(f"{_told(row)} ({time.monotonic() - began:.0f} s)", flush=True)
    if len({row["code"] for row in rows}) > 1:
        print(
            "rows of several versions of the library: --again makes those that are asked for anew"
        )
    (options.output / "learning.md").write_text(markdown(_in_order(rows)))
    figure(_in_order(rows), options.output / "learning.png")


def _write(rows: list[Row], path: Path) -> None:
    """Write rows so that whoever stops it leaves the old file or the new one."""
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(rows, indent=1) + "\n")
    scratch.replace(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [*KNOWN, *HELD_OUT]
    parser.add_argument("--problems", type=_named(every), default=every, help=", ".join(every))
    parser.add_argument(
        "--candidates",
        type=_named(CANDIDATES),
        default=list(CANDIDATES),
        help=", ".join(CANDIDATES),
    )
    parser.add_argument(
        "--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0]
    )
    parser.add_argument("--again", action="store_true", help="make rows that are there anew")
    parser.add_argument("--smoke", action="store_true", help="seconds, to see that it runs")
    parser.add_argument("--data", type=Path, help="folder of faces64.npz")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.smoke:
        if options.output == RESULTS:
            parser.error("--smoke needs an --output of its own: its rows are no results")
        if options.problems == every:
            options.problems = SMOKE_PROBLEMS
    return options


def _named(known: Collection[str]) -> Callable[[str], list[str]]:
    def parsed(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {list(known)}")
        return names

    return parsed


def _key(row: Row) -> tuple[str, str, int]:
    return row["problem"], row["candidate"], row["seed"]


def _in_order(rows: list[Row]) -> list[Row]:
    problems, candidates = [*KNOWN, *HELD_OUT], list(CANDIDATES)

    def place(row: Row) -> tuple[int, int, int]:
        names = (problems, row["problem"]), (candidates, row["candidate"])
        # A problem or candidate that has been taken out of the lists comes last.
        first, second = (known.index(n) if n in known else len(known) for known, n in names)
        return first, second, row["seed"]

    return sorted(rows, key=place)


def _told(row: Row) -> str:
    numbers = ("gap", "nats", "standard_error", "rmse", "frechet", "epochs", "seconds")
    told = [f"{name} {row[name]:.4g}" for name in numbers if name in row]
    return f"{row['problem']}, {row['candidate']}, seed {row['seed']}: " + (
        ", ".join(told) or row["error"]
    )


if __name__ == "__main__":
    main()
