"""polars' data frames: as pandas' for the work, and filled as they came."""

import datetime
import decimal
import sys
from typing import Any

import pandas as pd


def is_polars(X: Any) -> bool:  # noqa: N803
    """Return whether this is a polars data frame; polars is not imported for it."""
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(X, polars.LazyFrame):
        raise TypeError("X must be a table in memory, got a LazyFrame: X.collect()")
    return polars is not None and isinstance(X, polars.DataFrame)


def to_pandas(X: Any) -> pd.DataFrame:  # noqa: N803
    """Return a polars frame as one of pandas, without Arrow between them.

    Raises
    ------
    TypeError
        If a column is nested or of a dtype without a counterpart; the message names it.
    """
    return pd.DataFrame({name: _as_series(name, X[name]) for name in X.columns})


def _as_series(name: str, column: Any) -> pd.Series:
    import polars as pl

    dtype, cells = column.dtype, column.to_list()
    if dtype.is_integer():
        # pandas has all of them but those of 128 bits.
        return pd.Series(cells, dtype=str(dtype).replace("128", "64"))
    if dtype.is_numeric():
        return pd.Series(cells, dtype="float32" if dtype == pl.Float32 else "float64")
    if dtype == pl.Boolean:
        return pd.Series(cells, dtype="boolean")
    if dtype in (pl.Categorical, pl.Enum):
        levels = dtype.categories.to_list() if dtype == pl.Enum else None
        return pd.Series(pd.Categorical(cells, levels, ordered=dtype == pl.Enum))
    if dtype == pl.String:
        return pd.Series(cells, dtype=object)
    if dtype == pl.Duration:
        return pd.Series(pd.to_timedelta(cells))
    if dtype in (pl.Date, pl.Datetime):
        return pd.Series(pd.to_datetime(cells))
    if dtype == pl.Null:
        return pd.Series(cells, dtype="float64")
    raise TypeError(
        f"column {name!r} must hold numbers, truth values, dates, strings or categories, got the "
        f"polars dtype {dtype}"
    )


def from_pandas(frame: pd.DataFrame) -> Any:
    """Return a pandas frame as one of polars, without Arrow between them."""
    import polars as pl

    return pl.DataFrame([_as_column(str(name), frame[name]) for name in frame])


def _as_column(name: str, cells: pd.Series) -> Any:
    import polars as pl

    held: Any = cells.dtype
    is_date = pd.api.types.is_datetime64_any_dtype(held)
    if is_date or pd.api.types.is_timedelta64_dtype(held):
        times = cells.dt.as_unit("ms") if cells.dt.unit == "s" else cells
        zone, unit = getattr(held, "tz", None), times.dt.unit
        dtype = pl.Datetime(unit, zone and str(zone)) if is_date else pl.Duration(unit)
        counts = times.astype("int64").where(times.notna(), None).tolist()
        return pl.Series(name, counts, dtype=pl.Int64).cast(dtype)
    values = [None if pd.isna(cell) else cell for cell in cells.tolist()]
    if isinstance(held, pd.CategoricalDtype):
        if held.categories.inferred_type != "string":
            return pl.Series(name, values)
        levels = held.categories.tolist()
        return pl.Series(name, values, dtype=pl.Enum(levels) if held.ordered else pl.Categorical)
    if pd.api.types.is_bool_dtype(held):
        return pl.Series(name, values, dtype=pl.Boolean)
    if pd.api.types.is_integer_dtype(held):
        sign = "Int" if held.kind == "i" else "UInt"
        return pl.Series(name, values, dtype=getattr(pl, f"{sign}{8 * held.itemsize}"))
    if pd.api.types.is_float_dtype(held):
        return pl.Series(name, values, dtype=pl.Float64 if held.itemsize > 4 else pl.Float32)
    return pl.Series(name, values)


def filled_as(X: Any, filled: pd.DataFrame) -> Any:  # noqa: N803
    """Return a polars frame with the cells of a filled pandas frame; others stay what they were."""
    import polars as pl

    before = to_pandas(X)
    columns = []
    for name in filled.columns:
        given, made = before[name], filled[name]
        dtype = None if _is_retyped(given, made, X.schema[name]) else X.schema[name]
        # Booleans of pandas may be missing themselves.
        differs = (given != made).fillna(True).to_numpy(dtype=bool) | given.isna().to_numpy()
        cells = [
            _as_cell(new, dtype) if changed else old
            for old, new, changed in zip(X[name].to_list(), made, differs, strict=True)
        ]
        made_column = pl.Series(name, cells, dtype=dtype)
        if dtype is not None and dtype.is_temporal():
            # As Python's they have no nanoseconds.
            made_column = made_column.zip_with(pl.Series(differs), X[name])
        columns.append(made_column)
    return pl.DataFrame(columns)


def _is_retyped(given: pd.Series, made: pd.Series, dtype: Any) -> bool:
    """Return whether a column that held nothing was filled with what its dtype cannot hold."""
    import polars as pl

    types = pd.api.types
    is_number = types.is_numeric_dtype(made.dtype) and not types.is_bool_dtype(made.dtype)
    return bool(given.isna().all()) and (dtype == pl.Null or dtype.is_numeric() != is_number)


def _as_cell(cell: Any, dtype: Any) -> Any:
    import polars as pl

    if pd.isna(cell):
        return None
    if isinstance(cell, pd.Timestamp):
        moment: datetime.datetime = cell.to_pydatetime()
        return moment.date() if dtype == pl.Date else moment
    if isinstance(cell, pd.Timedelta):
        return cell.to_pytimedelta()
    if isinstance(dtype, pl.Decimal):
        return decimal.Decimal(f"{cell:.{dtype.scale}f}")
    if dtype is not None and dtype.is_numeric():
        return int(cell) if dtype.is_integer() else float(cell)
    return bool(cell) if dtype == pl.Boolean else cell
