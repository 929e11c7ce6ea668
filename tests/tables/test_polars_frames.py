import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from explainaway.tables import GeneratorImputer
from explainaway.tables.polars_frames import filled_as, to_pandas
from explainaway.tables.storage import storage_of

pl = pytest.importorskip("polars")


def _frame(n: int = 40) -> pl.DataFrame:
    noise = np.random.default_rng(0)
    z = noise.normal(size=n)
    columns = {
        "length": z.tolist(),
        "count": np.round(40 + 10 * z).astype(int).tolist(),
        "alive": (z > 0).tolist(),
        "colour": np.where(z > 0, "red", "blue").tolist(),
        "grade": np.where(z > 0.5, "high", "low").tolist(),
        "day": [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(30 * v)) for v in z],
    }
    holes = noise.random((len(columns), n)) < 0.2
    hidden = {
        name: [None if hole else cell for cell, hole in zip(cells, row, strict=True)]
        for (name, cells), row in zip(columns.items(), holes, strict=True)
    }
    return pl.DataFrame(hidden, schema_overrides={"grade": pl.Enum(["low", "high"])})


def test_a_polars_frame_comes_back_filled_with_the_dtypes_and_cells_that_it_had() -> None:
    frame = _frame()
    imputer = GeneratorImputer(epochs=10, num_draws=16, random_state=0).fit(frame)
    for filled in (imputer.transform(frame), *imputer.sample(frame, 2)):
        assert filled.schema == frame.schema
        assert sum(filled.null_count().row(0)) == 0
        for name in frame.columns:
            seen = frame[name].is_not_null()
            assert filled[name].filter(seen).equals(frame[name].filter(seen))


@pytest.mark.parametrize("dtype", [pl.Null, pl.Float64])
def test_a_column_without_any_cell_is_filled_as_what_it_was_in_fit(dtype: type) -> None:
    frame = _frame()
    imputer = GeneratorImputer(epochs=1, num_draws=8, random_state=0).fit(frame)
    for name in ("length", "alive", "colour", "grade", "day"):
        nothing = pl.Series(name, [None, None], dtype=dtype)
        filled = imputer.transform(frame[:2].with_columns(nothing))
        assert filled[name].null_count() == 0
        seen = frame[name].drop_nulls().to_list()
        made = filled[name].cast(pl.Date) if name == "day" else filled[name]
        assert all(min(seen) <= cell <= max(seen) for cell in made)


def test_cells_that_are_not_numbers_are_missing_too() -> None:
    frame = pl.DataFrame({"a": [1.0, float("nan"), None]})
    assert to_pandas(frame)["a"].isna().tolist() == [False, True, True]
    filled = filled_as(frame, to_pandas(frame).fillna(2.0))
    assert filled["a"].to_list() == [1.0, 2.0, 2.0]


def test_nested_columns_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="column 'a' must hold numbers"):
        to_pandas(pl.DataFrame({"a": [[1], [2, 3]]}))


def test_observed_nanoseconds_come_back() -> None:
    ticks = [1_600_000_000_000_000_123, None, 1_600_000_000_000_000_789]
    table = pl.DataFrame(
        {
            "at": pl.Series(ticks, dtype=pl.Int64).cast(pl.Datetime("ns")),
            "took": pl.Series(ticks, dtype=pl.Int64).cast(pl.Duration("ns")),
        }
    )
    made = to_pandas(table)
    made.loc[1] = made.loc[0]
    filled = filled_as(table, made)
    assert filled.schema == table.schema
    assert filled.null_count().sum_horizontal().item() == 0
    for name in table.columns:
        assert filled[name].cast(pl.Int64).to_list()[::2] == ticks[::2]


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.Int8, pl.UInt64])
def test_whole_numbers_keep_to_their_dtype(dtype: type) -> None:
    table = pl.DataFrame({"n": pl.Series([1, None, 100, 7], dtype=dtype)})
    frame = to_pandas(table)
    storage = storage_of("n", frame["n"])
    for number in (-1e30, 1e30):
        made = storage.write(frame["n"], frame["n"].isna().to_numpy(), np.array([number]))
        filled = filled_as(table, pd.DataFrame({"n": made}))
        assert filled.schema == table.schema
        assert filled["n"].to_list() == [1, made[1], 100, 7]


def test_decimals_are_filled_as_such() -> None:
    cells = [decimal.Decimal("1.25"), None, decimal.Decimal("-3.50")]
    table = pl.DataFrame({"price": pl.Series(cells, dtype=pl.Decimal(10, 2))})
    filled = filled_as(table, pd.DataFrame({"price": [1.25, 2.718, -3.5]}))
    assert filled.schema == table.schema
    assert filled["price"].to_list() == [cells[0], decimal.Decimal("2.72"), cells[2]]


def test_an_enum_is_ordered_and_a_lazy_frame_refused() -> None:
    assert to_pandas(_frame())["grade"].cat.ordered
    with pytest.raises(TypeError, match=r"got a LazyFrame: X.collect\(\)"):
        GeneratorImputer().fit(_frame().lazy())


def test_set_output_of_the_other_library_keeps_dtypes() -> None:
    frame = to_pandas(_frame())
    frame["day"] = frame["day"].dt.as_unit("ns").dt.tz_localize("Europe/Paris")
    frame["took"] = pd.to_timedelta(frame["length"].round(2), unit="s").dt.as_unit("s")
    frame["part"] = frame["length"].astype("float32")
    frame["code"] = pd.Categorical(frame["count"] > 40, ordered=True)
    frame["few"] = pd.array(frame["count"].clip(0, 100), dtype="UInt8")
    settings = {"epochs": 2, "num_draws": 4, "random_state": 0, "proper": False}
    imputer = GeneratorImputer(**settings)
    filled = imputer.fit_transform(frame)
    made = imputer.set_output(transform="polars").transform(frame)
    grades = pl.Enum(["low", "high"])
    paris = pl.Datetime("ns", "Europe/Paris")
    assert dict(made.schema) == {
        "length": pl.Float64,
        "count": pl.Int64,
        "alive": pl.Boolean,
        "colour": pl.String,
        "grade": grades,
        "day": paris,
        "took": pl.Duration("ms"),
        "part": pl.Float32,
        "code": pl.Boolean,
        "few": pl.UInt8,
    }
    for name in made.columns:
        if name == "day":
            assert made[name].cast(pl.Int64).to_list() == filled[name].astype("int64").tolist()
        else:
            assert made[name].to_list() == filled[name].tolist()
    of_polars = GeneratorImputer(**settings).set_output(transform="pandas").fit_transform(_frame())
    assert (of_polars.dtypes == to_pandas(_frame()).dtypes).all()
    assert not of_polars.isna().any(axis=None)


def test_an_array_becomes_a_polars_frame() -> None:
    y = np.array([[0.5, 1.0], [np.nan, 2.0], [1.5, np.nan]] * 5)
    imputer = GeneratorImputer(epochs=2, num_draws=4, random_state=0, proper=False)
    made = imputer.set_output(transform="polars").fit_transform(y)
    assert made.columns == ["x0", "x1"]
    np.testing.assert_array_equal(
        made.to_numpy(), imputer.set_output(transform="default").transform(y)
    )
