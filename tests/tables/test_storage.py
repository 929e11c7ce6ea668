import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from explainaway.tables.storage import storage_of

COLUMNS = {
    "float": pd.Series([1.5, np.nan, 2.5, -0.0]),
    "float32": pd.Series([1.1, np.nan, 2.2, 3.3], dtype="float32"),
    "nullable float": pd.Series([1.5, None, 2.5, 3.5], dtype="Float64"),
    "integer": pd.Series([3, 1, 2, 5]),
    "nullable integer": pd.Series([3, None, 2, 5], dtype="Int64"),
    "truth": pd.Series([True, False, True, True]),
    "nullable truth": pd.Series([True, None, False, True], dtype="boolean"),
    "truth as objects": pd.Series([True, None, False, True], dtype=object),
    "string": pd.Series(["b", None, "a", "b"]),
    "string as objects": pd.Series(["b", None, "a", "b"], dtype=object),
    "category": pd.Series(["b", None, "a", "b"], dtype=pd.CategoricalDtype(["b", "unused", "a"])),
    "ordered": pd.Series(
        ["b", None, "a", "b"], dtype=pd.CategoricalDtype(["b", "a"], ordered=True)
    ),
    "category of numbers": pd.Series([2, None, 1, 2], dtype="category"),
    "date": pd.Series(pd.to_datetime(["2020-03-29", None, "2020-02-01", "2021-01-01"])),
    "time": pd.Series(
        pd.to_datetime(["2020-03-29T01:02:03", None, "2020-02-01T00:00:00", "2021-01-01T00:00:00"])
    ),
    "zoned": pd.Series(
        pd.to_datetime(["2020-03-29", None, "2020-02-01", "2021-01-01"])
    ).dt.tz_localize("Europe/Berlin"),
    "duration": pd.Series(pd.to_timedelta(["1h", None, "3h", "90min"])),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_what_is_read_can_be_written_into_every_cell(name: str) -> None:
    """Each cell takes the number of the first one; dtype and index stay as they were."""
    series = COLUMNS[name].rename("column")
    series.index = pd.Index(["p", "q", "r", "s"])
    storage = storage_of("column", series)
    numbers = storage.read(series)
    np.testing.assert_array_equal(np.isnan(numbers), series.isna())
    written = storage.write(series, np.ones(4, dtype=bool), np.full(4, numbers[0]))
    assert written.dtype == series.dtype
    pd.testing.assert_index_equal(written.index, series.index)
    assert all(cell == series.iloc[0] for cell in written)


@pytest.mark.parametrize("name", COLUMNS)
def test_cells_that_are_not_written_keep_their_bits(name: str) -> None:
    series = COLUMNS[name]
    storage = storage_of("column", series)
    hidden = series.isna().to_numpy()
    written = storage.write(series, hidden, np.full(hidden.sum(), storage.read(series)[0]))
    pd.testing.assert_series_equal(written[~hidden], series[~hidden], check_exact=True)
    if series.dtype.kind == "f":
        assert written[~hidden].to_numpy().tobytes() == series[~hidden].to_numpy().tobytes()
    assert not written.isna().any()


def test_strings_that_are_all_different_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"column 'patient' holds 3 labels, all of them different"):
        storage_of("patient", pd.Series(["p1", "p2", None, "p3"]))


def test_whole_numbers_and_times_are_written_as_such() -> None:
    whole = storage_of("n", pd.Series([1.0, 2.0, np.nan]))
    assert whole.sort == "whole numbers"
    day = storage_of("day", COLUMNS["date"])
    cells = day.cells_of(np.array([1.4]), COLUMNS["date"].dtype)
    assert pd.Timestamp(cells[0]) == pd.Timestamp("2020-02-02")


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        ([1.0, np.inf], ValueError, "column 'c' must hold finite numbers"),
        ([1 + 2j, 2.0], ValueError, "Complex data not supported"),
        ([{"a": 1}, {"b": 2}], TypeError, "column 'c' must hold numbers, truth values"),
        (["a", 1], TypeError, "column 'c' must hold numbers, truth values"),
        ([datetime.time(1), None], TypeError, "column 'c' must hold numbers"),
        ([datetime.date(2024, 1, 1), None], TypeError, "a column of dates by pandas.to_datetime"),
        (pd.arrays.SparseArray([0.0, 1.0]), TypeError, "column 'c' must be dense"),
    ],
)
def test_other_cells_are_refused_by_name(cells: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        storage_of("c", pd.Series(cells, name="c"))


def test_labels_that_fit_has_not_seen_are_told_and_say_nothing() -> None:
    storage = storage_of("colour", pd.Series(["red", "blue", "red"]))
    told = "column 'colour' has labels that fit has not seen in 1 of its cells, such as 'green'"
    with pytest.warns(UserWarning, match=told):
        numbers = storage.read(pd.Series(["green", "red"]))
    np.testing.assert_array_equal(numbers, [np.nan, 1])


@pytest.mark.parametrize("unit", ["s", "us"])
def test_times_that_nanoseconds_cannot_say_are_refused_by_name(unit: str) -> None:
    """They would come back from the other end: 9999 as 1816."""
    ends = pd.Series(np.array(["2024-01-01", "9999-12-31", "2024-02-03"], f"datetime64[{unit}]"))
    with pytest.raises(ValueError, match="column 'end' holds 9999-12-31 00:00:00"):
        storage_of("end", ends)
    storage = storage_of("end", ends.iloc[[0, 2]])
    with pytest.raises(ValueError, match="column 'end' holds 9999-12-31"):
        storage.read(ends)
    far = storage.cells_of(np.array([-1e9, 1e9]), ends.dtype)
    assert pd.Timestamp(far[0]).year == 1677
    assert pd.Timestamp(far[1]).year == 2262


def test_dates_of_another_zone_are_the_same_instants() -> None:
    times = pd.Series(pd.date_range("2024-03-30T20:00", periods=12, freq="h", tz="Europe/Berlin"))
    storage = storage_of("seen", times)
    elsewhere = times.dt.tz_convert("Asia/Tokyo")
    np.testing.assert_array_equal(storage.read(elsewhere), storage.read(times))
    hidden = np.arange(12) < 3
    written = storage.write(elsewhere.mask(hidden), hidden, storage.read(times)[:3])
    pd.testing.assert_series_equal(written, elsewhere)
    with pytest.raises(ValueError, match=r"column 'seen' held dates of dtype .*Europe/Berlin"):
        storage.read(times.dt.tz_localize(None))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("date", COLUMNS["duration"]),
        ("duration", COLUMNS["date"]),
        ("float", COLUMNS["date"]),
        ("integer", COLUMNS["duration"]),
        ("date", COLUMNS["float"]),
    ],
)
def test_times_are_no_other_times_and_no_numbers(before: str, now: pd.Series) -> None:
    storage = storage_of("c", COLUMNS[before])
    with pytest.raises(ValueError, match=r"column 'c' held .* in fit, and now dtype"):
        storage.read(now)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "UInt8", "Int8", "int64", "uint64", "UInt64"])
def test_whole_numbers_are_the_nearest_that_a_dtype_has(dtype: str) -> None:
    series = pd.Series([0, 100, 50, 7], dtype=dtype)
    ends = np.iinfo(dtype.lower())
    written = storage_of("c", series).write(
        series, np.array([True, True, False, False]), np.array([-1e30, 1e30])
    )
    assert written.dtype == series.dtype
    assert written.iloc[0] == ends.min
    assert written.iloc[1] == pytest.approx(ends.max)
    assert list(written.iloc[2:]) == [50, 7]


def test_truth_values_of_fit_are_written_as_numbers_where_those_are_given() -> None:
    storage = storage_of("smokes", pd.Series([True, False, True]))
    hidden = np.array([False, True, False])
    written = storage.write(pd.Series([1, None, 0], dtype="Int64"), hidden, np.array([1.0]))
    assert list(written) == [1, 1, 0]


def test_a_dtype_that_cannot_hold_what_is_filled_in_is_told_by_name() -> None:
    storage = storage_of("dose", pd.Series([0.5, 1.5, 2.5]))
    given = pd.Series([0.5, None], dtype="category")
    with pytest.raises(ValueError, match="column 'dose' has dtype category, which cannot hold"):
        storage.write(given, np.array([False, True]), np.array([1.0]))


@pytest.mark.parametrize("size", [1e-310, 1e305])
def test_numbers_whose_products_are_none_are_refused_by_name(size: float) -> None:
    with pytest.raises(ValueError, match="column 'c' must hold numbers of sizes from 1e-300"):
        storage_of("c", pd.Series([1.0, 2.0, 3.0]) * size)
