"""The small ones: of the user guide and the docstring, and a pipeline with indicators of gaps.

`The user guide <https://scikit-learn.org/stable/modules/impute.html>`_ fills two columns of which
one is twice the other, and classifies irises of which half of the cells are hidden; the docstring
of ``IterativeImputer`` fills a table of three rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.impute import MissingIndicator
from sklearn.model_selection import train_test_split
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.tree import DecisionTreeClassifier

Numbers = NDArray[np.float64]

TWICE = np.array([[1, 2], [3, 6], [4, 8], [np.nan, 3], [7, np.nan]])
ASKED = np.array([[np.nan, 2], [6, np.nan], [np.nan, 6]])
NUM_ROWS = 200
THREE_ROWS = np.array([[7, 2, 3], [4, np.nan, 6], [10, 5, 9]])
ASKED_OF_THREE = np.array([[np.nan, 2, 3], [4, np.nan, 6], [10, np.nan, 9]])


def few_rows(make: Callable[[], Any]) -> dict[str, Any]:
    """Return the rows of the user guide, rightly (1, 2), (6, 12), (3, 6), and the docstring's."""
    return {
        "user guide": make().fit(TWICE).transform(ASKED).tolist(),
        "docstring": make().fit(THREE_ROWS).transform(ASKED_OF_THREE).tolist(),
    }


def many_rows(make: Callable[[], Any], seed: int) -> dict[str, Any]:
    """Return what fills the user guide's table with 200 rows, a fifth of each column hidden.

    ``points`` are the filled rows, ``error`` the root mean square error of the hidden cells in
    standard deviations of their columns.
    """
    noise = np.random.default_rng(seed)
    first = noise.uniform(1, 10, NUM_ROWS)
    truth = np.stack([first, 2 * first], 1)
    given = truth.copy()
    order = noise.permutation(NUM_ROWS).reshape(5, -1)
    given[order[0], 0] = np.nan
    given[order[1], 1] = np.nan
    hidden = np.isnan(given)
    filled = make().fit_transform(given)
    errors = ((filled - truth) / truth.std(0))[hidden]
    return {
        "error": float(np.sqrt((errors**2).mean())),
        "points": filled[hidden.any(1)].tolist(),
    }


def irises(make: Callable[[], Any], seed: int, splits: int) -> dict[str, Any]:
    """Return the share of 100 irises that a tree classifies rightly, half of all cells hidden.

    A number for each split, with other gaps each.
    """
    return {"accuracy": [_split(make(), seed * splits + split) for split in range(splits)]}


def _split(imputer: Any, seed: int) -> float:
    table, species = load_iris(return_X_y=True)
    noise = np.random.default_rng(seed)
    table[noise.integers(0, 2, table.shape).astype(bool)] = np.nan
    learn, test, of_learn, of_test = train_test_split(
        table, species, test_size=100, random_state=seed
    )
    union = FeatureUnion([("features", imputer), ("indicators", MissingIndicator())])
    tree = make_pipeline(union, DecisionTreeClassifier(random_state=seed))
    return float(tree.fit(learn, of_learn).score(test, of_test))
