import datetime

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
    ],
)
def test_other_cells_are_refused_by_name(
    cells: list[object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        storage_of("c", pd.Series(cells, name="c"))


def test_labels_that_fit_has_not_seen_are_told_and_say_nothing() -> None:
    storage = storage_of("colour", pd.Series(["red", "blue", "red"]))
    told = "column 'colour' has labels that fit has not seen in 1 of its cells, such as 'green'"
    with pytest.warns(UserWarning, match=told):
        numbers = storage.read(pd.Series(["green", "red"]))
    np.testing.assert_array_equal(numbers, [np.nan, 1])
