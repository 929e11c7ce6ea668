"""Multiple imputation: coefficients of a regression from several fillings, by Rubin's rules.

After ``plot_multiple_imputation.py``, an example from the time when scikit-learn's iterative
imputer was written (its repository has it, the gallery no longer). Three quarters of each column
are hidden, and the target is among what is learned from.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

from explainaway.tables import GeneratorImputer, pool

Numbers = NDArray[np.float64]
Fill = Callable[[pd.DataFrame], list[pd.DataFrame]]
NUM_DRAWS = 5


def chained(table: pd.DataFrame, max_iter: int = 20) -> list[pd.DataFrame]:
    """Return fillings by scikit-learn's imputer, as many fits."""
    imputers = [
        IterativeImputer(sample_posterior=True, max_iter=max_iter, random_state=i)
        for i in range(NUM_DRAWS)
    ]
    return [pd.DataFrame(i.fit_transform(table), columns=table.columns) for i in imputers]


def ours(table: pd.DataFrame, proper: bool = True, **settings: Any) -> list[pd.DataFrame]:
    """Return fillings by ours."""
    imputer = GeneratorImputer(proper=proper, random_state=0, **settings).fit(table)
    draws: list[pd.DataFrame] = imputer.sample(table, NUM_DRAWS)
    return draws


def standardised() -> pd.DataFrame:
    """Return the diabetes table and its target, ``y``, all with mean 0 and variance 1."""
    table, target = load_diabetes(return_X_y=True, as_frame=True)
    table = table.assign(y=target)
    result: pd.DataFrame = (table - table.mean()) / table.std()
    return result


def with_gaps(table: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Hide a share of each column but ``y``, completely at random."""
    noise = np.random.default_rng(seed)
    given = table.copy()
    for name in table.columns.drop("y"):
        rows = noise.choice(len(table), int(share * len(table)), replace=False)
        given.loc[given.index[rows], name] = np.nan
    return given


def regression(table: pd.DataFrame) -> tuple[Numbers, Numbers]:
    """Return coefficients of least squares, and their standard errors, (10,)."""
    x, y = table.drop(columns="y").to_numpy(), table["y"].to_numpy()
    x = np.column_stack([np.ones(len(x)), x])
    inverse = np.linalg.inv(x.T @ x)
    coefficients = inverse @ x.T @ y
    variance = ((y - x @ coefficients) ** 2).sum() / (len(y) - x.shape[1])
    return coefficients[1:], np.sqrt(variance * inverse.diagonal())[1:]


def pooled(fill: Fill, complete: pd.DataFrame, share: float, seed: int) -> dict[str, Any]:
    """Return pooled coefficients and standard errors beside those of the complete table.

    ``error`` is the root mean square difference of coefficients, ``claimed`` the root mean square
    standard error, both in standard errors of the complete table; ``covered`` the share of its
    coefficients in the 95 % intervals.
    """
    truth, unit = regression(complete)
    fits = [regression(table) for table in fill(with_gaps(complete, share, seed))]
    found = pool([fit[0] for fit in fits], np.stack([fit[1] for fit in fits]))
    inside = (found["lower"] <= truth) & (truth <= found["upper"])
    return {
        "error": float(np.sqrt((((found["estimate"] - truth) / unit) ** 2).mean())),
        "claimed": float(np.sqrt(((found["standard_error"] / unit) ** 2).mean())),
        "covered": float(inside.mean()),
        "estimate": found["estimate"].tolist(),
        "standard_error": found["standard_error"].tolist(),
    }
