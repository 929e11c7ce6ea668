"""Limits of cells that are known only to lie beyond them."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .column_models import ColumnModel
from .storage import Numbers, Storage

Limits = Mapping[Hashable, tuple[Any, Any]]
"""From a column to its lower and its upper limits: None, a number, or one for each row."""


def checked_limits(limits: Any, names: Sequence[Hashable], index: pd.Index) -> Limits:
    """Return limits by column, those given as a Series in the order of the table's rows.

    Raises
    ------
    TypeError, ValueError
        If they are not a mapping from columns to pairs, or a Series does not have the index of the
        table.
    """
    if limits is None:
        return {}
    if not isinstance(limits, Mapping):
        raise TypeError(
            'limits must be a mapping from columns to pairs such as {"lead": (0.5, None)}, got '
            f"{limits!r}"
        )
    for name, pair in limits.items():
        if name not in names:
            raise ValueError(f"limits name {name!r}, but the columns are {list(names)}")
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                f"limits[{name!r}] must be a pair, the lower and the upper limit (None for none), "
                f"got {pair!r}"
            )
    return {
        name: (
            _in_order(f"limits[{name!r}], the lower one,", pair[0], index),
            _in_order(f"limits[{name!r}], the upper one,", pair[1], index),
        )
        for name, pair in limits.items()
    }


def _in_order(name: str, limit: Any, index: pd.Index) -> Any:
    if not isinstance(limit, pd.Series):
        return limit
    if limit.index.equals(index):
        return limit.to_numpy()
    if limit.index.is_unique and index.isin(limit.index).all():
        return limit.reindex(index).to_numpy()
    raise ValueError(
        f"{name} must be a Series with the index of the table, which begins {list(index[:3])}, got "
        f"one of {len(limit)} whose index begins {list(limit.index[:3])}; an array or a list is "
        "taken row by row"
    )


def censored_by(
    storage: Storage, pair: tuple[Any, Any], numbers: Numbers
) -> tuple[Numbers, Numbers]:
    """Return the limits below which, and above which, cells lie, (n,) each, NaN where by none.

    A number holds for all cells: those at or beyond it are censored. Of limits given one by one, a
    missing cell with a limit lies beyond it too; with two it is but missing.
    """
    low, high = (
        _limit(f"limits[{storage.name!r}], the {side} one,", storage, limit, len(numbers))
        for side, limit in zip(("lower", "upper"), pair, strict=True)
    )
    missing = np.isnan(numbers)
    has_own = [
        ~np.isnan(end) & (np.ndim(given) > 0) for end, given in zip((low, high), pair, strict=True)
    ]
    below = (numbers <= low) | _are_nearest(numbers, low) | (missing & has_own[0] & ~has_own[1])
    above = (numbers >= high) | _are_nearest(numbers, high) | (missing & has_own[1] & ~has_own[0])
    lower, upper = np.where(below, low, np.nan), np.where(above, high, np.nan)
    wrong = lower >= upper
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"limits[{storage.name!r}] must be a lower limit below the upper one, got "
            f"{lower[row]:g} and {upper[row]:g} in row {row}"
        )
    return lower, upper


def _are_nearest(numbers: Numbers, limit: Numbers) -> NDArray[np.bool_]:
    """Return which numbers are all that single precision can hold of a limit."""
    with np.errstate(over="ignore"):
        found: NDArray[np.bool_] = numbers == limit.astype(np.float32)
    return found


def _limit(name: str, storage: Storage, limit: Any, num_rows: int) -> Numbers:
    if limit is None:
        return np.full(num_rows, np.nan)
    if np.ndim(limit) == 0:
        limit = [limit] * num_rows
    if len(limit) != num_rows:
        raise ValueError(
            f"{name} must be None, a number, or one for each of the {num_rows} rows, got "
            f"{len(limit)}"
        )
    cells = pd.Series(list(limit))
    try:
        return storage.read(cells)
    except (TypeError, ValueError) as error:
        observed = cells[cells.notna()]
        infinite = [cell for cell in observed if isinstance(cell, float) and np.isinf(cell)]
        strings = [cell for cell in observed if isinstance(cell, str)]
        wrong = (infinite or strings or list(observed))[0]
        raise ValueError(
            f"{name} must hold finite {storage.sort}, or None for no limit, got {wrong!r}"
        ) from error


def with_kind(model: ColumnModel, pair: tuple[Any, Any] | None) -> tuple[Any, Any]:
    """Return a column's limits: those given with its cells, else those of its kind."""
    low, high = pair or (None, None)
    return (model.limits[0] if low is None else low, model.limits[1] if high is None else high)
