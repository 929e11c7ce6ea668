"""Tables as data frames: in, out, and described."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .storage import Numbers
from .table import Table


def as_frame(X: Any, names: Sequence[Hashable] | None = None) -> pd.DataFrame:  # noqa: N803
    """Return an array (n, columns) as a frame with these names, else x0, x1, ..."""
    frame = pd.DataFrame(X, columns=names or [f"x{number}" for number in range(X.shape[1])])
    return frame.infer_objects() if X.dtype == object else frame


def holds_strings(X: Any) -> bool:  # noqa: N803
    """Return whether these are lists of rows of which one has a string."""
    rows = [row for row in X if isinstance(row, list | tuple)] if isinstance(X, list) else []
    return any(isinstance(cell, str) for row in rows for cell in row)


def check_columns(X: pd.DataFrame) -> None:  # noqa: N803
    """Raise ValueError unless a frame has rows, and columns with different plain names."""
    if 0 in X.shape:
        raise ValueError(f"X must have at least one row and one column, got shape {X.shape}")
    if X.columns.nlevels > 1:
        raise ValueError(
            f"X must have columns with plain names, got a MultiIndex of {X.columns.nlevels} levels "
            f"such as {X.columns[0]!r}; join them, as by X.columns.map('_'.join)"
        )
    if not X.columns.is_unique:
        twice = X.columns[X.columns.duplicated()][0]
        raise ValueError(f"X must have columns with different names, got {twice!r} twice")


def check_same_columns(X: pd.DataFrame, names: Sequence[Hashable]) -> None:  # noqa: N803
    """Raise ValueError unless a frame has the columns of fit in their order."""
    if list(X) != list(names):
        raise ValueError(
            f"X must have the columns of fit in their order, {list(names)}, got {list(X)}; an "
            "array of as many columns is taken by position"
        )


def written(
    table: Table, frame: pd.DataFrame, cells: NDArray[np.bool_], numbers: Numbers
) -> pd.DataFrame:
    """Return a copy of a frame in which some cells (n, columns of the table) hold numbers."""
    made = frame.copy()
    for column, storage in enumerate(table.storages):
        chosen = cells[:, column]
        if chosen.any():
            made[storage.name] = storage.write(frame[storage.name], chosen, numbers[chosen, column])
    return made


def described(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table of columns: what each holds, and as what it is modelled."""
    kinds = dict(zip(table.names, table.models, strict=True))
    sorts = {storage.name: storage.sort for storage in table.storages}
    rows = [
        {
            "dtype": str(frame[name].dtype),
            "holds": sorts.get(name, "nothing"),
            "kind": kinds[name].summary if name in kinds else "empty",
            "different": frame[name].nunique(),
            "missing": float(frame[name].isna().mean()),
        }
        for name in frame
    ]
    return pd.DataFrame(rows, index=pd.Index(list(frame), name="column"))
