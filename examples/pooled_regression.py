"""A regression on a table with gaps: complete rows, one filling, twenty draws that are pooled.

Of scikit-learn's diabetes table 30 % of the cells are hidden, depending on other columns, and the
progression of the disease is regressed on all else by statsmodels' OLS. One filled table pretends
that nothing was missing: its standard errors are too small. Rubin's rules
(`explainaway.tables.pool`) add what the draws disagree by.

    python examples/pooled_regression.py [--rows 442] [--fixed] [--smoke]
"""

import argparse
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common.folders import ROOT
from common.rows import Rows
from comparison.gaps import hide
from comparison.tables import TABLES

from explainaway.tables import GeneratorImputer, pool

TARGET = "y"


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rows", type=int, default=442, help="of the table")
    add("--draws", type=int, default=20)
    add("--fixed", action="store_true", help="take the learned weights for the true ones")
    add("--seed", type=int, default=0)
    add("--smoke", action="store_true", help="seconds, on a few rows")
    add("--output", type=Path, default=ROOT / "examples" / "results")
    return parser.parse_args()


def regressed(table: pd.DataFrame) -> Any:
    """Return the regression of the target on all other columns."""
    import statsmodels.api as sm

    return sm.OLS(table[TARGET], sm.add_constant(table.drop(columns=TARGET))).fit()


def compared(
    truth: pd.DataFrame, given: pd.DataFrame, filled: pd.DataFrame, draws: Sequence[pd.DataFrame]
) -> dict[str, dict[str, float]]:
    """Return how coefficients compare with those of the table without gaps.

    ``error`` is the root mean square difference, ``claimed`` the root mean square standard error
    that goes with it, both over the complete table's standard error; ``covered`` is the share of
    coefficients of the complete table that lie in the 95 % intervals.
    """
    best = regressed(truth)
    names = best.params.index.drop("const")
    estimates = {"one filling": regressed(filled)}
    if len(complete := given.dropna()) > 2 * truth.shape[1]:
        estimates["complete rows"] = regressed(complete)
    tables = {
        name: pd.DataFrame(
            {
                "estimate": fit.params,
                "standard_error": fit.bse,
                **dict(zip(("lower", "upper"), fit.conf_int().to_numpy().T, strict=True)),
            }
        )
        for name, fit in estimates.items()
    }
    tables["draws, pooled"] = pool([regressed(draw) for draw in draws])
    results = {}
    for name, table in tables.items():
        part, true, unit = table.loc[names], best.params[names], best.bse[names]
        results[name] = {
            "error": float(np.sqrt((((part["estimate"] - true) / unit) ** 2).mean())),
            "claimed": float(np.sqrt(((part["standard_error"] / unit) ** 2).mean())),
            "covered": float(((part["lower"] <= true) & (true <= part["upper"])).mean()),
        }
    return results


def main() -> None:
    """Make the table."""
    options = parsed()
    settings: dict[str, Any] = {"proper": not options.fixed}
    if options.smoke:
        options.rows, options.draws, options.output = 100, 3, Path(tempfile.mkdtemp())
        settings |= {"epochs": 20, "num_draws": 10}
    if find_spec("statsmodels") is None:
        print("statsmodels is not installed: pip install 'explainaway[tables]'")
        return
    truth = TABLES["diabetes"].load().iloc[: options.rows]
    given, _ = hide("diabetes", truth, "dependent", options.seed)
    rows = Rows(options.output / "pooled_regression.json")
    asked = {"rows": options.rows, "draws": options.draws, "seed": options.seed, **settings}
    found = rows.find(asked)
    if found is None:
        imputer = GeneratorImputer(random_state=options.seed, **settings).fit(given)
        draws = imputer.sample(given, num_draws=options.draws, seed=options.seed)
        results = compared(truth, given, imputer.transform(given), draws)
        found = rows.add(asked, {"results": results})
    print("| | error | claimed standard error | 95 % intervals cover |\n|---|---|---|---|")
    for name, result in found["results"].items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in result.values()) + " |")


if __name__ == "__main__":
    main()
