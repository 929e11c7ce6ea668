"""Tables as data frames: in, out, and described."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .storage import Numbers
from .table import Table


def as_frame(X: Any) -> pd.DataFrame:  # noqa: N803
    """Return a frame or an array (n, columns) as a frame whose columns have different names."""
    if isinstance(X, pd.DataFrame):
        if not X.columns.is_unique:
            twice = X.columns[X.columns.duplicated()][0]
            raise ValueError(f"X must have columns with different names, got {twice!r} twice")
        return X
    frame = pd.DataFrame(X, columns=[f"x{number}" for number in range(X.shape[1])])
    return frame.infer_objects() if X.dtype == object else frame


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
