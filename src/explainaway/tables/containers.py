"""Filled tables as what was given, or as what ``set_output`` asks for."""

from typing import Any

import pandas as pd
from sklearn import get_config
from sklearn.base import BaseEstimator

from .polars_frames import filled_as, from_pandas, is_polars


def as_given(X: Any, filled: pd.DataFrame) -> Any:  # noqa: N803
    """Return a filled table as a frame of polars, one of pandas, or an array, as X is."""
    if is_polars(X):
        return filled_as(X, filled)
    return filled if isinstance(X, pd.DataFrame) else filled.to_numpy()


def as_asked(estimator: BaseEstimator, X: Any, filled: pd.DataFrame) -> Any:  # noqa: N803
    """Return a filled table as the estimator's ``set_output`` says, by default as X is.

    scikit-learn itself would make it without the dtypes of the columns.
    """
    own = getattr(estimator, "_sklearn_output_config", {})
    container = own.get("transform", get_config()["transform_output"])
    if container == "pandas":
        return filled
    if container == "polars" and not is_polars(X):
        return from_pandas(filled)
    return as_given(X, filled)
