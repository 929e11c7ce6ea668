"""Cells below a detection limit: what filling them in does to means, spreads and correlations.

Soil samples of the Kola peninsula (the table chorizonDL of R's package VIM, GPL-2 or later; without
R a made-up table of logarithms): of the elements that were found in every sample some get a limit,
below which 20, 40 or 60 % of their values are hidden. The tables are then completed with half the
limit, by regression on order statistics, by IterativeImputer that is told the limits as largest
values, and by a generator that is told that the cells are below them.

    python examples/detection_limits.py [--rows 0.2 0.4 0.6] [--smoke]

A row is a share of hidden cells.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from common.folders import ROOT
from common.rows import Rows
from comparison.limits import FILLS, biases, generator, planted
from comparison.rscript import NotInstalledError, table_of

ELEMENTS = ("Al", "Ba", "Ca", "Co", "Cr", "Cu", "Fe", "La", "Mg", "Mn", "Ni", "Pb", "Sr", "V", "Zn")
LIMITED = ("Cu", "La", "Ni", "Pb", "Sr")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rows", type=float, nargs="+", default=[0.2, 0.4, 0.6], help="shares of hidden cells")
    add("--methods", nargs="+", default=list(FILLS), choices=list(FILLS))
    add("--draws", type=int, default=20)
    add("--seed", type=int, default=0)
    add("--smoke", action="store_true", help="seconds, on a made-up table")
    add("--output", type=Path, default=ROOT / "examples" / "results")
    return parser.parse_args()


def loaded(smoke: bool) -> tuple[str, pd.DataFrame]:
    """Return where the table is from, and the logarithms (to base ten) of its concentrations."""
    if not smoke:
        try:
            return "R: VIM::chorizonDL", np.log10(table_of("VIM", "chorizonDL")[list(ELEMENTS)])
        except NotInstalledError as problem:
            print(f"{problem}: a made-up table instead")
    noise = np.random.default_rng(0)
    rows, rank = (60, 2) if smoke else (600, 4)
    numbers = noise.normal(size=(rows, rank)) @ noise.normal(size=(rank, len(ELEMENTS)))
    numbers += 0.5 * noise.normal(size=numbers.shape)
    return "made up", pd.DataFrame(numbers, columns=list(ELEMENTS))


def table(rows: Rows) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| hidden | | mean | spread | correlation | hidden cells, RMSE | above the limit | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows.rows, key=lambda row: row["settings"]["share"]):
        found, settings = row["biases"], row["settings"]
        numbers = " | ".join(f"{value:.3f}" for value in found.values())
        lines.append(
            f"| {settings['share']:.0%} | {settings['method']} | {numbers} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Make the rows that are asked for, and the table of all."""
    options = parsed()
    source, frame = loaded(options.smoke)
    if options.smoke:
        options.output, options.rows, options.draws = Path(tempfile.mkdtemp()), [0.4], 2
        FILLS["generator"] = partial(generator, settings={"epochs": 20, "num_draws": 10})
    rows = Rows(options.output / "detection_limits.json")
    for share in options.rows:
        given, limits = planted(frame, dict.fromkeys(LIMITED, share))
        for name in options.methods:
            settings = {"source": source, "share": share, "method": name}
            settings |= {"draws": options.draws, "seed": options.seed}
            if rows.find(settings) is None:
                start = time.process_time()
                draws = FILLS[name](given, limits, options.draws, options.seed)
                found = biases(frame, given, limits, draws)
                rows.add(settings, {"biases": found, "seconds": time.process_time() - start})
                print(f"{share:.0%}, {name}: {found}", flush=True)
    (options.output / "detection_limits.md").write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
