"""Rows that fit has not seen, whose columns are kept otherwise than they were in fit."""

import numpy as np
import pandas as pd
import pytest

from explainaway.tables import GeneratorImputer


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    noise = np.random.default_rng(0)
    z = noise.normal(size=60)
    return pd.DataFrame(
        {
            "a": z,
            "n": np.round(20 + 5 * z).astype(int),
            "truth": z > 0,
            "nullable": pd.array(z > 0.5, dtype="boolean"),
            "colour": np.where(z > 0, "red", np.where(z > -1, "green", "blue")),
            "grade": pd.Categorical(np.where(z > 0, "high", "low")),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(30 * z), unit="D"),
            "waited": pd.to_timedelta(np.round(30 + 5 * z), unit="h"),
        },
        index=[f"row {i}" for i in range(60)],
    )


@pytest.fixture(scope="module")
def imputer(table: pd.DataFrame) -> GeneratorImputer:
    return GeneratorImputer(epochs=5, num_draws=20, random_state=0).fit(table)


@pytest.mark.parametrize("nothing", [np.nan, None], ids=["NaN", "None"])
@pytest.mark.parametrize(
    "name", ["a", "n", "truth", "nullable", "colour", "grade", "day", "waited"]
)
def test_a_column_without_any_cell_is_filled_in_the_dtype_of_fit(
    imputer: GeneratorImputer, table: pd.DataFrame, name: str, nothing: object
) -> None:
    rows = table.iloc[:3].assign(**{name: nothing})
    for filled in (imputer.transform(rows), *imputer.sample(rows, 2)):
        assert filled[name].dtype == table[name].dtype
        assert not filled.isna().any(axis=None)
        pd.testing.assert_frame_equal(
            filled.drop(columns=name), rows.drop(columns=name), check_exact=True
        )
        if name in ("a", "n", "day", "waited"):
            assert filled[name].between(table[name].min(), table[name].max()).all()
        else:
            assert filled[name].isin(table[name]).all()
    lower, upper = imputer.intervals(rows)
    if name in lower:
        assert (lower[name] <= upper[name]).all()


def test_truth_values_written_as_numbers_are_filled_as_numbers(
    imputer: GeneratorImputer, table: pd.DataFrame
) -> None:
    rows = table.iloc[:3].assign(truth=[0.0, np.nan, 1.0])
    filled = imputer.transform(rows)["truth"]
    assert filled.dtype == np.float64
    assert filled.iloc[[0, 2]].tolist() == [0, 1]
    assert filled.iloc[1] in (0, 1)


def test_categories_that_new_rows_do_not_name_are_added(
    imputer: GeneratorImputer, table: pd.DataFrame
) -> None:
    rows = table.iloc[:20].assign(grade=pd.Categorical(["low"] + [None] * 19))
    filled = imputer.transform(rows)["grade"]
    assert list(filled.cat.categories) == ["low", "high"]
    assert filled.iloc[0] == "low"
    assert not filled.isna().any()


def test_numbers_written_as_strings_are_refused(
    imputer: GeneratorImputer, table: pd.DataFrame
) -> None:
    rows = table.iloc[:3].assign(a=["3.5", None, "1"])
    with pytest.raises(ValueError, match=r"column 'a' held numbers in fit, and now strings such"):
        imputer.transform(rows)
    rows["a"] = pd.to_numeric(rows["a"])
    assert imputer.transform(rows)["a"].iloc[0] == 3.5
