"""How good imputations are, on hidden cells only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .gaps import Mask

Array = NDArray[Any]

LEVEL = 0.9
"""Of the intervals."""


@dataclass(frozen=True)
class Imputed:
    """What an imputer makes of a table.

    Parameters
    ----------
    draws : list of DataFrame
        Completed tables; a single one where the imputer has no draws.
    point : DataFrame, optional
        The table filled with its means; by default the means of the draws.
    probabilities : mapping of DataFrame, optional
        Of the categories (columns) in each row, by column; by default how often they are drawn.
    """

    draws: list[pd.DataFrame]
    point: pd.DataFrame | None = None
    probabilities: Mapping[Any, pd.DataFrame] | None = None


def crps(draws: Array, truth: Array) -> Array:
    """Return the continuous ranked probability score of each cell, estimated without bias.

    The spread of the draws is averaged over pairs of different ones (the fair score of Ferro 2014),
    so that the number of draws does not matter on average. Of a single draw it is the absolute
    error.

    Parameters
    ----------
    draws : array, (draws, cells)
        Numbers, in the units of the column.
    truth : array, (cells,)
        What was hidden.
    """
    count = len(draws)
    error: Array = np.abs(draws - truth).mean(0)
    if count == 1:
        return error
    # The sum over pairs from the sorted draws: the k-th is larger than k of them.
    weights = 2 * np.arange(count) - count + 1
    spread: Array = weights @ np.sort(draws, axis=0) / (count * (count - 1))
    return error - spread


def interval(draws: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """Return the ends of central intervals that cover the next draw with the level's probability.

    Of m draws the k-th smallest is the quantile k / (m + 1): a further draw is below it with
    that probability.
    """
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(draws, tails, axis=0, method="weibull")
    return low, high


def log_score(probabilities: Array, codes: Array) -> Array:
    """Return minus the log probability of each true category, in nats."""
    return np.asarray(-np.log(probabilities[np.arange(len(codes)), codes]))


def by_column(truth: pd.DataFrame, hidden: Mask, imputed: Imputed) -> pd.DataFrame:
    """Return the mean scores of each column that has hidden cells.

    Parameters
    ----------
    truth : DataFrame, (n, D)
        Before the cells were hidden.
    hidden : bool array, (n, D)
        The cells.
    imputed : Imputed
        What was made of the table without them.

    Returns
    -------
    DataFrame
        A row for each column: ``cells``; of numbers ``crps``, ``square`` (the mean square error),
        ``width`` of intervals, all in standard deviations of the column, and ``coverage``; of
        categories ``log_score`` (nats) and ``accuracy``. Frequencies of m draws become
        probabilities by (count + 1/2) / (m + K/2), K the number of categories. Where the imputer
        gives probabilities itself ``log_score_own`` is theirs.
    """
    rows = {}
    for j, name in enumerate(truth.columns):
        cells = np.flatnonzero(hidden[:, j])
        if len(cells) == 0:
            continue
        column = truth[name]
        make = _categories if isinstance(column.dtype, pd.CategoricalDtype) else _numbers
        rows[name] = {"cells": len(cells), **make(column, cells, imputed)}
    return pd.DataFrame.from_dict(rows, orient="index")


def scores(truth: pd.DataFrame, hidden: Mask, imputed: Imputed) -> dict[str, float]:
    """Return the means of the columns' scores: each column counts the same."""
    columns = by_column(truth, hidden, imputed)
    means = columns.drop(columns="cells").mean().dropna().to_dict()
    if "square" in means:
        means["rmse"] = float(np.sqrt(means.pop("square")))
    if "coverage" in columns:
        # A share is of cells, not of columns.
        numbers = columns.dropna(subset="coverage")
        means["coverage"] = float(np.average(numbers["coverage"], weights=numbers["cells"]))
    return {"cells": int(columns["cells"].sum()), **means}


def _numbers(column: pd.Series, cells: Array, imputed: Imputed) -> dict[str, float]:
    unit = column.std()
    true = column.to_numpy(float)[cells] / unit
    draws = np.stack([_of(draw, column, cells).astype(float) for draw in imputed.draws]) / unit
    if imputed.point is None:
        point = draws.mean(0)
    else:
        point = _of(imputed.point, column, cells).astype(float) / unit
    result = {"crps": crps(draws, true).mean(), "square": ((point - true) ** 2).mean()}
    if len(draws) > 1:
        low, high = interval(draws)
        # Rounding apart: a repeated value at an interval's end is inside.
        inside = (true >= low - 1e-9) & (true <= high + 1e-9)
        result |= {"coverage": inside.mean(), "width": (high - low).mean()}
    return result


def _categories(column: pd.Series, cells: Array, imputed: Imputed) -> dict[str, float]:
    levels = column.cat.categories
    true = column.cat.codes.to_numpy()[cells]
    drawn = np.stack([_codes(draw, column, cells) for draw in imputed.draws])
    counts = (drawn[:, :, None] == np.arange(len(levels))).sum(0)
    frequencies = (counts + 0.5) / (len(drawn) + 0.5 * len(levels))
    own = None
    if imputed.probabilities is not None:
        table = imputed.probabilities[column.name]
        table.columns = table.columns.astype(str)
        given = table.reindex(columns=levels.astype(str)).to_numpy(float)[cells]
        own = np.clip(np.nan_to_num(given), 1e-4, None)
        own /= own.sum(1, keepdims=True)
    # An imputer without draws would be scored by one drawn category.
    best = own if own is not None and len(drawn) == 1 else frequencies
    result = {
        "log_score": log_score(best, true).mean(),
        "accuracy": (best.argmax(1) == true).mean(),
    }
    return result if own is None else result | {"log_score_own": log_score(own, true).mean()}


def _of(frame: pd.DataFrame, column: pd.Series, cells: Array) -> Array:
    return np.asarray(frame[column.name])[cells]


def _codes(frame: pd.DataFrame, column: pd.Series, cells: Array) -> Array:
    values = frame[column.name].iloc[cells]
    return np.asarray(pd.Categorical(values, dtype=column.dtype).codes)
