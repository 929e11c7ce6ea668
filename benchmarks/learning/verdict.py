"""How often the verdict on learning errs, on problems whose maximum likelihood is known.

    python -m benchmarks.learning.verdict [--seeds 3,4] [--smoke]

Every problem is learned by the defaults in too few epochs, in enough, and in as many as ``fit``
finds; what ``fit.converged`` says is held against the gap to the maximum. Writes
``results/learning_verdict.json`` run by run: a run that was interrupted goes on. One thread.
"""

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from .candidates import Candidate
from .known import KnownMaximum
from .problems import KNOWN
from .runs import Row, code_digest
from .runs import row_of as learned

RESULTS = Path(__file__).parents[1] / "results" / "learning_verdict.json"

EPOCHS: tuple[int | Literal["auto"], ...] = (8, 15, 30, 60, 120, "auto")

BAD = 0.1
"""Nats per example below the maximum that should be told."""

GOOD = 0.01
"""Nats per example that need not be."""


def main() -> None:
    """Make the runs that are not there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="3,4")
    parser.add_argument("--smoke", action="store_true", help="one run, nothing is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.smoke:
        print(row_of("random_intercepts", 8, 0))
        return
    rows: list[Row] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    # Runs of another version of the library say nothing of this one's verdict.
    rows = [row for row in rows if row["code"] == code_digest()]
    there = {(row["problem"], row["epochs"], row["seed"]) for row in rows}
    for seed in map(int, options.seeds.split(",")):
        for epochs in EPOCHS:
            for name in KNOWN:
                if (name, epochs, seed) in there:
                    continue
                rows.append(row_of(name, epochs, seed))
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
                print(rows[-1], flush=True)
    print(table(rows))


def row_of(name: str, epochs: int | Literal["auto"], seed: int) -> Row:
    """Learn a problem by the defaults and return its gap and the verdict."""
    # Held-out cells end a run where it overfits, and then the gap is meant.
    candidate = Candidate("library", epochs=epochs, fit={"hold_out": None})
    row = learned(_problem(name), candidate, seed)
    kept = ("problem", "seed", "seconds", "gap", "gain", "score_gain", "converged", "code")
    return {**{key: row[key] for key in kept}, "epochs": epochs, "made": row["epochs"]}


@cache
def _problem(name: str) -> KnownMaximum:
    """Return a problem whose maximum, once it is found, serves all its runs."""
    return KNOWN[name]()


def table(rows: list[Row]) -> str:
    """Return how many runs were told not to have arrived, by how far they are from it."""
    kinds = {
        f"gap over {BAD} nats": [row for row in rows if row["gap"] > BAD],
        f"gap between {GOOD} and {BAD}": [row for row in rows if GOOD < row["gap"] <= BAD],
        f"gap up to {GOOD} nats": [row for row in rows if row["gap"] <= GOOD],
    }
    lines = ["| runs | told not to have arrived | not known | of |", "|---|---|---|---|"]
    for what, some in kinds.items():
        told = sum(row["converged"] is False for row in some)
        unknown = sum(row["converged"] is None for row in some)
        lines.append(f"| {what} | {told} | {unknown} | {len(some)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
