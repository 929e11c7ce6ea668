"""How a column is kept in its frame: its cells as numbers, and numbers as its cells."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .warned import warn

Numbers = NDArray[np.float64]
Sort = Literal["numbers", "whole numbers", "dates", "durations", "labels", "empty"]

FEWEST_DIFFERENT = 3
"""Labels that are all different are refused from so many on: two may be yes and no."""

SMALLEST, LARGEST = 1e-300, 1e300
"""Of the largest number of a column: products of others are beyond what a number holds."""

MANY_LABELS = 20
"""With more, and a new one in more than every second cell, a column looks like an identifier."""


@dataclass(frozen=True)
class Storage:
    """What a column's cells are, and how they become numbers.

    Attributes
    ----------
    name : hashable
        Of the column.
    sort : str
        Whether cells are numbers (all of them whole, perhaps), dates, durations, or labels, which
        become the numbers 0 to K - 1.
    labels : tuple
        What the numbers of labels stand for, in order.
    ordered : bool
        Whether the order of labels means something.
    origin, unit : int
        Of dates and durations, in nanoseconds: a cell is ``origin + number * unit``.
    dtype : dtype
        Of the column in fit; new rows that hold nothing in it are filled in this one.
    """

    name: Hashable
    sort: Sort
    labels: tuple[Any, ...] = ()
    ordered: bool = False
    origin: int = 0
    unit: int = 1
    dtype: Any = None

    @property
    def is_number(self) -> bool:
        """Whether cells lie on a line, so that there is a mean of them."""
        return self.sort not in ("labels", "empty")

    @property
    def is_time(self) -> bool:
        """Whether cells are dates or durations."""
        return self.sort in ("dates", "durations")

    @property
    def zero(self) -> float | None:
        """The number below which there is another sign; dates have none."""
        return None if self.sort == "dates" else -self.origin / self.unit

    @property
    def is_whole(self) -> bool:
        """Whether numbers that do not stand in the table are rounded to whole ones."""
        return self.sort == "whole numbers" or self.is_time

    def read(self, series: pd.Series) -> Numbers:
        """Return the cells as numbers, NaN where missing or a label that fit has not seen."""
        if series.isna().all():
            return np.full(len(series), np.nan)
        if self.sort == "labels":
            codes = pd.Index(self.labels, dtype=object).get_indexer(series.astype(object))
            unseen = (codes < 0) & series.notna().to_numpy()
            if unseen.any():
                label = series[unseen].iloc[0]
                warn(
                    f"column {self.name!r} has labels that fit has not seen in {unseen.sum()} of "
                    f"its cells, such as {label!r}: they stay as they are and say nothing about "
                    "other cells",
                )
            return np.where(codes < 0, np.nan, codes).astype(np.float64)
        if self.is_time:
            ticks, missing = _nanoseconds(self._as_in_fit(series), self.name)
            return np.where(missing, np.nan, (ticks - self.origin) / self.unit)
        return _as_float(series, self.name)

    def _as_in_fit(self, series: pd.Series) -> pd.Series:
        """Return dates by the clock of fit, or durations."""
        is_date = pd.api.types.is_datetime64_any_dtype(series.dtype)
        if not is_date and not pd.api.types.is_timedelta64_dtype(series.dtype):
            raise ValueError(
                f"column {self.name!r} held {self.sort} in fit, and now dtype {series.dtype}: "
                "parse them first (pandas.to_datetime, pandas.to_timedelta)"
            )
        if is_date != (self.sort == "dates"):
            raise ValueError(
                f"column {self.name!r} held {self.sort} in fit, and now dtype {series.dtype}"
            )
        if (_zone(self.dtype) is None) != (_zone(series.dtype) is None):
            raise ValueError(
                f"column {self.name!r} held dates of dtype {self.dtype} in fit, and now of "
                f"{series.dtype}: give them a time zone, or take it away (Series.dt.tz_localize)"
            )
        return series if _zone(self.dtype) is None else series.dt.tz_convert(_zone(self.dtype))

    def write(self, series: pd.Series, cells: NDArray[np.bool_], numbers: Numbers) -> pd.Series:
        """Return a copy in which some cells hold numbers, the others what they held, to the bit."""
        if not cells.any():
            return series.copy()
        if series.isna().all():
            made = pd.Series(self.cells_of(numbers, self.dtype), series.index, name=series.name)
            return made.astype(self.dtype)
        made = self._with_room(series)
        values = made.array.copy()
        try:
            values[cells] = self.cells_of(numbers, made.dtype)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {self.name!r} has dtype {made.dtype}, which cannot hold what is filled in "
                f"({error}): in fit it had {self.dtype}"
            ) from error
        return pd.Series(values, index=series.index, name=series.name, dtype=made.dtype)

    def _with_room(self, series: pd.Series) -> pd.Series:
        """Return a column of new rows in a dtype that holds the labels of fit."""
        if self.sort != "labels":
            return series
        if isinstance(series.dtype, pd.CategoricalDtype):
            known = set(series.cat.categories)
            return series.cat.add_categories([one for one in self.labels if one not in known])
        is_float = pd.api.types.is_float_dtype(series.dtype)
        if is_float and not all(isinstance(one, bool | int | float) for one in self.labels):
            return series.astype(object)
        return series

    def cells_of(self, numbers: Numbers, dtype: Any) -> Any:
        """Return numbers as a column of this dtype holds them."""
        if self.sort == "labels":
            labels = np.empty(len(self.labels), dtype=object)
            labels[:] = self.labels
            found = labels[numbers.astype(np.int64)]
            if pd.api.types.is_float_dtype(dtype):
                return found.astype(np.float64)
            return found.astype(np.int64) if pd.api.types.is_integer_dtype(dtype) else found
        if self.is_time:
            return self._times(numbers, dtype)
        if pd.api.types.is_integer_dtype(dtype):
            return _whole(numbers, getattr(dtype, "numpy_dtype", dtype))
        if pd.api.types.is_float_dtype(dtype) and isinstance(dtype, np.dtype):
            return numbers.astype(dtype)
        return numbers

    def _times(self, numbers: Numbers, dtype: Any) -> Any:
        """Return dates or durations, dates by the clock of fit."""
        # Not beyond what nanoseconds in 64 bits can say, of which the least means missing.
        most = 2**63 - 1
        low, high = -((most + self.origin) // self.unit), (most - self.origin) // self.unit
        whole = _whole(numbers, np.dtype(np.int64)).clip(max(low, -most), min(high, most))
        ticks = self.origin + whole * self.unit
        if self.sort == "durations":
            return pd.Series(ticks.astype("timedelta64[ns]")).astype(dtype).array
        times = pd.Series(ticks.astype("datetime64[ns]"))
        if _zone(self.dtype) is not None:
            # A clock that is turned back shows an hour twice: its first time is taken.
            first = np.ones(len(times), dtype=bool)
            times = times.dt.tz_localize(
                _zone(self.dtype), ambiguous=first, nonexistent="shift_forward"
            )
        return times.astype(dtype).array

    def shown(self, number: float) -> str:
        """Return how a cell with this number is written in a text."""
        if self.sort == "labels":
            return repr(self.labels[int(number)])
        return (
            str(self._times(np.array([number]), self.dtype)[0]) if self.is_time else f"{number:g}"
        )


def storage_of(name: Hashable, series: pd.Series) -> Storage:
    """Return how a column is kept, from its dtype and cells.

    Raises
    ------
    TypeError
        If its cells are neither numbers, truth values, dates, durations, strings nor categories.
    ValueError
        If its cells are labels, all of them different, or not finite.
    """
    return replace(_storage_of(name, series), dtype=series.dtype)


def _storage_of(name: Hashable, series: pd.Series) -> Storage:
    dtype, types = series.dtype, pd.api.types
    seen = series.dropna()
    if len(seen) == 0:
        return Storage(name, "empty")
    if isinstance(dtype, pd.SparseDtype):
        raise TypeError(
            f"column {name!r} must be dense, got dtype {dtype} (Series.sparse.to_dense)"
        )
    if isinstance(dtype, pd.CategoricalDtype):
        present = set(seen)
        labels = tuple(label for label in dtype.categories if label in present)
        _check_repeated(name, labels, len(seen))
        return Storage(name, "labels", labels, bool(dtype.ordered))
    if types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype):
        return _storage_of_times(name, seen)
    held = _sort_of(series, seen)
    if held == "boolean":
        return Storage(
            name, "labels", tuple(label for label in (False, True) if (seen == label).any())
        )
    if held == "number":
        numbers = _as_float(seen, name)
        return Storage(name, "whole numbers" if (numbers == np.rint(numbers)).all() else "numbers")
    if held == "string":
        labels = tuple(sorted(set(seen)))
        _check_repeated(name, labels, len(seen))
        return Storage(name, "labels", labels)
    objects = "date" in held and "; make them a column of dates by pandas.to_datetime"
    raise TypeError(
        f"column {name!r} must hold numbers, truth values, dates, strings or categories, got "
        f"{_mixture(seen) or f'dtype {dtype} with cells such as {seen.iloc[0]!r}'}{objects or ''}"
    )


def _check_repeated(name: Hashable, labels: tuple[Any, ...], num_observed: int) -> None:
    """Refuse labels that are all different, and warn of those that nearly are."""
    if len(labels) == num_observed >= FEWEST_DIFFERENT:
        raise ValueError(
            f"column {name!r} holds {num_observed} labels, all of them different, such as "
            f"{labels[0]!r}: an identifier says nothing about other rows. Drop the column, or make "
            "it the index; if it holds dates or numbers, parse them first (pandas.to_datetime, "
            "pandas.to_numeric)"
        )
    if len(labels) > max(MANY_LABELS, num_observed / 2):
        warn(
            f"column {name!r} holds {len(labels)} different labels in {num_observed} cells, such "
            f"as {labels[0]!r}, and each is learned as a category of its own: drop the column if "
            "it is an identifier; if it holds dates, parse them first (pandas.to_datetime)",
        )


def _mixture(seen: pd.Series) -> str | None:
    """Return an example of each where cells are partly numbers and partly strings."""
    strings = [cell for cell in seen if isinstance(cell, str)]
    numbers = [cell for cell in seen if isinstance(cell, int | float | np.number)]
    if not strings or not numbers:
        return None
    return (
        f"numbers and strings mixed, such as {numbers[0]!r} and {strings[0]!r}; make them numbers "
        "by pandas.to_numeric(..., errors='coerce'), which takes other strings for missing"
    )


def _sort_of(series: pd.Series, seen: pd.Series) -> str:
    dtype, types = series.dtype, pd.api.types
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: column {series.name!r} has dtype {dtype}")
    if types.is_numeric_dtype(dtype):
        return "number"
    held: str = types.infer_dtype(seen, skipna=True)
    if held in ("integer", "floating", "mixed-integer-float", "decimal"):
        return "number"
    return held


def _as_float(series: pd.Series, name: Hashable) -> Numbers:
    """Return numbers in float64, NaN where missing."""
    missing = series.isna().to_numpy()
    numbers = np.full(len(series), np.nan)
    strings: list[str] = []
    if series.dtype.kind in "mM":
        raise ValueError(f"column {name!r} held numbers in fit, and now dtype {series.dtype}")
    if not pd.api.types.is_numeric_dtype(series.dtype):
        strings = [cell for cell in series[~missing] if isinstance(cell, str)]
    if strings:
        found = _mixture(series[~missing]) or (
            f"strings such as {strings[0]!r}; make them numbers by pandas.to_numeric(..., "
            "errors='coerce'), which takes other strings for missing"
        )
        raise ValueError(f"column {name!r} held numbers in fit, and now {found}")
    try:
        numbers[~missing] = series[~missing].to_numpy().astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"column {name!r} held numbers in fit, and now cells such as "
            f"{series[~missing].iloc[0]!r} ({error})"
        ) from error
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise ValueError(
            f"column {name!r} must hold finite numbers or missing cells, got infinity in row {row} "
            "(NaN means missing)"
        )
    largest = np.nanmax(np.abs(numbers))
    if largest > LARGEST or 0 < largest < SMALLEST:
        raise ValueError(
            f"column {name!r} must hold numbers of sizes from {SMALLEST:g} to {LARGEST:g}, got "
            f"{largest:g} as the largest: choose another unit"
        )
    return numbers


def _nanoseconds(series: pd.Series, name: Hashable) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times as whole nanoseconds, of dates by their clock, and which are missing."""
    missing = series.isna().to_numpy()
    if _zone(series.dtype) is not None:
        series = series.dt.tz_localize(None)
    try:
        return series.dt.as_unit("ns").to_numpy().astype(np.int64), missing
    except (pd.errors.OutOfBoundsDatetime, pd.errors.OutOfBoundsTimedelta) as error:
        sizes = np.abs(series[~missing].to_numpy().astype(np.int64))
        far = series[~missing].iloc[int(sizes.argmax())]
        raise ValueError(
            f"column {name!r} holds {far}, and times must be within 292 years (of 1970, if they "
            "are dates): make it missing if it stands for never, else give numbers of years"
        ) from error


def _zone(dtype: Any) -> Any:
    return getattr(dtype, "tz", None)


def _whole(numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return whole numbers of a dtype, the nearest that it has."""
    ends = np.iinfo(dtype)
    # As floating-point numbers both ends may lie beyond what the dtype has.
    low, high = float(ends.min), float(ends.max)
    if int(high) > ends.max:
        high = np.nextafter(high, 0.0)
    return np.rint(np.clip(numbers, low, high)).astype(dtype)


def _storage_of_times(name: Hashable, seen: pd.Series) -> Storage:
    """Return the storage of dates or durations: whole multiples of a day, a second or less."""
    ticks, _ = _nanoseconds(seen, name)
    origin = int(ticks.min())
    units = [86_400_000_000_000, 3_600_000_000_000, 60_000_000_000, 1_000_000_000, 1_000_000, 1]
    unit = next(unit for unit in units if ((ticks - origin) % unit == 0).all())
    sort: Sort = "dates" if pd.api.types.is_datetime64_any_dtype(seen.dtype) else "durations"
    return Storage(name, sort, origin=origin, unit=unit)
