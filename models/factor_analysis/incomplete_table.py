"""A table with missing cells, its rows and columns stacked by what is observed."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sweep_operator import Array

PATTERNS_AT_ONCE = 1024
"""Patterns of missing cells in one stack of rows: it bounds the memory that their (d, d) take."""

COLUMNS_AT_ONCE = 256
"""Columns in one stack of columns."""


class RowStacks(NamedTuple):
    """Stacks of ``r`` rows each, the rows of a stack observing the same columns.

    Attributes
    ----------
    places : int array, (p, r)
        Where each row stands in the table.
    values : array, (p, r, D)
        Zero where missing.
    seen : bool array, (p, 1, D)
        What the rows of a stack observe.
    """

    places: NDArray[np.intp]
    values: Array
    seen: NDArray[np.bool_]


class ColumnStacks(NamedTuple):
    """Stacks of ``c`` columns each, the columns of a stack being observed in the same rows.

    Attributes
    ----------
    places : int array, (q, c)
        Which column each is in the table.
    products : array, (q, c, c)
        Cross-products of a stack's columns, over the rows in which they are observed.
    num_rows : int array, (q, 1)
        The number of those rows.
    """

    places: NDArray[np.intp]
    products: Array
    num_rows: NDArray[np.intp]


class IncompleteTable:
    """What EM needs of a table, made once.

    Parameters
    ----------
    table : array, (n, D)
        NaN where missing.

    Attributes
    ----------
    offset, variance : array, (D,)
        Mean and variance of the observed cells; 0 and 1 where there is none. The offset is taken
        off, so that no digits are lost in squares.
    rows : list of RowStacks
    columns : list of ColumnStacks
        Without those that are never observed.
    """

    def __init__(self, table: Array) -> None:
        seen = ~np.isnan(table)
        counts = seen.sum(0)
        self.shape: tuple[int, int] = table.shape
        self.offset: Array = np.where(seen, table, 0.0).sum(0) / np.maximum(counts, 1)
        filled = np.where(seen, table - self.offset, 0.0)
        variance = (filled**2).sum(0) / np.maximum(counts, 1)
        self.variance: Array = np.where(counts > 0, variance, 1.0)
        self.rows = rows_by_pattern(table - self.offset)
        self.columns: list[ColumnStacks] = []
        observed = np.flatnonzero(counts)
        for alike in _stacked_alike(seen.T[observed], COLUMNS_AT_ONCE):
            for part in np.array_split(alike, -(-alike.size // COLUMNS_AT_ONCE)):
                places = observed[part]
                cells = filled.T[places]  # (q, c, n)
                self.columns.append(
                    ColumnStacks(places, cells @ cells.swapaxes(-1, -2), counts[places[:, :1]])
                )


def rows_by_pattern(table: Array) -> list[RowStacks]:
    """Return the rows of a table with NaN where missing, stacked by what they observe."""
    seen = ~np.isnan(table)
    filled = np.where(seen, table, 0.0)
    return [
        RowStacks(part, filled[part], seen[part[:, :1]])
        for places in _stacked_alike(seen, len(table))
        for part in np.array_split(places, -(-len(places) // PATTERNS_AT_ONCE))
    ]


def _stacked_alike(flags: NDArray[np.bool_], most: int) -> list[NDArray[np.intp]]:
    """Return the places of equal rows, at most so many together, stacked by their number."""
    _, pattern = np.unique(np.packbits(flags, axis=1), axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    order = np.argsort(pattern, kind="stable")
    by_number: dict[int, list[NDArray[np.intp]]] = {}
    for alike in np.split(order, np.flatnonzero(np.diff(pattern[order])) + 1):
        for start in range(0, len(alike), most):
            part = alike[start : start + most]
            by_number.setdefault(len(part), []).append(part)
    return [np.stack(parts) for parts in by_number.values()]
