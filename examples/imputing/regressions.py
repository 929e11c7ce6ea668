"""The two examples of scikit-learn's gallery: a regression on columns with gaps, cross-validated.

`missing values <https://scikit-learn.org/stable/auto_examples/impute/plot_missing_values.html>`_
and `variants <https://scikit-learn.org/stable/auto_examples/impute/
plot_iterative_imputer_variants_comparison.html>`_; both compare imputers by the error of what is
predicted of complete targets.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline, make_union

from explainaway.tables import GeneratorImputer

Numbers = NDArray[np.float64]
OURS = "GeneratorImputer"
INDICATORS = MissingIndicator(error_on_new=False)


class Regression(NamedTuple):
    """One of the two examples.

    Attributes
    ----------
    imputers : dict
        By name, what makes an imputer; None means no gaps.
    regressor : callable
        Makes what predicts the target.
    rows : int, optional
        The first so many are used; all by default.
    with_gaps : float
        Share of the rows that lose one of their cells.
    folds : int
        Of the cross-validation.
    indicators : bool
        Whether the regressor is told where cells were missing.
    """

    imputers: dict[str, Callable[[], Any] | None]
    regressor: Callable[[], Any]
    rows: int | None
    with_gaps: float
    folds: int
    indicators: bool


MISSING_VALUES = Regression(
    {
        "full data": None,
        "zero": lambda: SimpleImputer(strategy="constant", fill_value=0),
        "mean": SimpleImputer,
        "neighbours": KNNImputer,
        "IterativeImputer": lambda: IterativeImputer(
            random_state=0, n_nearest_features=3, max_iter=1, sample_posterior=True
        ),
        OURS: lambda: GeneratorImputer(random_state=0),
    },
    lambda: RandomForestRegressor(random_state=42),
    rows=300,
    with_gaps=0.75,
    folds=4,
    indicators=True,
)

VARIANTS = Regression(
    {
        "full data": None,
        "mean": SimpleImputer,
        "median": lambda: SimpleImputer(strategy="median"),
        "IterativeImputer": lambda: IterativeImputer(BayesianRidge(), max_iter=25, random_state=0),
        "… by a forest": lambda: IterativeImputer(
            RandomForestRegressor(4, max_depth=10, max_samples=0.5, random_state=0),
            max_iter=10,
            random_state=0,
        ),
        "… by a kernel": lambda: IterativeImputer(
            make_pipeline(Nystroem(degree=2, kernel="poly", random_state=0), Ridge(1e3)),
            max_iter=25,
            random_state=0,
        ),
        "… by neighbours": lambda: IterativeImputer(
            KNeighborsRegressor(15), max_iter=25, random_state=0
        ),
        OURS: lambda: GeneratorImputer(random_state=0),
    },
    BayesianRidge,
    rows=None,
    with_gaps=1.0,
    folds=5,
    indicators=False,
)


def data(example: Regression, seed: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return the diabetes table (n, 10), the same with gaps, and the target (n,)."""
    table, target = load_diabetes(return_X_y=True)
    table, target = table[: example.rows], target[: example.rows]
    noise = np.random.default_rng(seed)
    rows = noise.choice(len(table), int(example.with_gaps * len(table)), replace=False)
    given = table.copy()
    given[rows, noise.integers(table.shape[1], size=len(rows))] = np.nan
    return table, given, target


def scored(example: Regression, seed: int, make: Callable[[], Any] | None) -> dict[str, Any]:
    """Return the mean square errors of the folds, and those of the cells that were hidden.

    ``cells`` are the squared errors of hidden cells, in variances of their columns, where the whole
    table is filled; the originals do not show them.
    """
    table, given, target = data(example, seed)
    steps = [example.regressor()]
    if make is not None:
        imputer = make()
        steps.insert(0, make_union(imputer, INDICATORS) if example.indicators else imputer)
    folds = -cross_val_score(
        make_pipeline(*steps),
        table if make is None else given,
        target,
        scoring="neg_mean_squared_error",
        cv=example.folds,
    )
    hidden = np.isnan(given)
    filled = table if make is None else make().fit_transform(given)
    cells = (((filled - table) / table.std(0)) ** 2)[hidden]
    return {"folds": folds.tolist(), "cells": cells.tolist()}
