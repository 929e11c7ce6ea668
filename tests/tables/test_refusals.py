"""What an imputer cannot take is told by argument, with what was given and what was expected."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from explainaway.models import Censored, Gaussian
from explainaway.tables import GeneratorImputer, pool
from explainaway.tables.storage import storage_of


def _quick(**settings: Any) -> GeneratorImputer:
    return GeneratorImputer(**{"epochs": 1, "num_draws": 20, "random_state": 0, **settings})


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    y = np.random.default_rng(0).normal(size=(40, 2))
    y[:3, 1] = np.nan
    return pd.DataFrame(y, columns=["bill", "wing"], index=[f"bird {i}" for i in range(40)])


@pytest.fixture(scope="module")
def imputer(frame: pd.DataFrame) -> GeneratorImputer:
    return _quick().fit(frame)


PAIRS = pd.MultiIndex.from_product([["a"], ["b", "c"]])


@pytest.mark.parametrize("rename", [[0, 1], ["wing", 1], PAIRS])
def test_a_frame_with_other_names_than_in_fit_is_refused(
    imputer: GeneratorImputer, frame: pd.DataFrame, rename: Any
) -> None:
    with pytest.raises(ValueError, match=r"X must have the columns of fit .*'bill', 'wing'\], got"):
        imputer.transform(frame.set_axis(rename, axis=1))


@pytest.mark.parametrize("names", [["bill", "wing"], [1, 0]])
def test_a_frame_with_names_that_fit_did_not_have_is_refused(
    frame: pd.DataFrame, names: list[Any]
) -> None:
    fitted = _quick().fit(frame.to_numpy())
    with pytest.raises(ValueError, match=r"columns of fit .*\['x0', 'x1'\], got \[.*by position"):
        fitted.transform(frame.set_axis(names, axis=1))


def test_numbered_columns_are_those_of_fit_in_their_order(frame: pd.DataFrame) -> None:
    fitted = _quick().fit(frame.set_axis([0, 1], axis=1))
    assert list(fitted.transform(frame.set_axis([0, 1], axis=1))) == [0, 1]
    with pytest.raises(ValueError, match=r"\[0, 1\], got \[1, 0\]"):
        fitted.transform(frame.set_axis([1, 0], axis=1))


def test_an_array_is_taken_by_position(imputer: GeneratorImputer, frame: pd.DataFrame) -> None:
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        filled = imputer.transform(frame.to_numpy())
    np.testing.assert_array_equal(filled, imputer.transform(frame))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["a", "a"], "columns with different names, got 'a' twice"),
        (PAIRS, r"MultiIndex of 2 levels .*'a', 'b'"),
    ],
)
def test_columns_without_plain_different_names_are_refused(
    frame: pd.DataFrame, columns: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _quick().fit(frame.set_axis(columns, axis=1))


@pytest.mark.parametrize(("rows", "columns"), [(0, 2), (3, 0), (0, 0)])
def test_a_table_without_cells_is_refused(frame: pd.DataFrame, rows: int, columns: int) -> None:
    with pytest.raises(ValueError, match=rf"one row and one column, got shape \({rows}, {columns}"):
        _quick().fit(frame.iloc[:rows, :columns])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 64}, r"hidden must be a sequence of widths such as \(64, 64\), got 64"),
        ({"hidden": "64"}, "hidden must be a sequence of widths"),
        ({"hidden": (64, 0)}, r"hidden\[1\] must be a positive integer, got 0"),
        ({"latent_dim": 0}, "latent_dim must be a positive integer, got 0"),
        ({"latent_dim": 1.5}, "latent_dim must be a positive integer, got 1.5"),
        ({"decay": "1"}, "decay must be 0 or a positive number, got '1'"),
        ({"proper": "no"}, "proper must be True or False, got 'no'"),
    ],
)
def test_settings_are_checked_by_name(
    frame: pd.DataFrame, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        _quick(**settings).fit(frame)


@pytest.mark.parametrize("level", ["x", [0.5, 0.9], None, 1, 90])
def test_a_level_is_a_number_between_0_and_1(
    imputer: GeneratorImputer, frame: pd.DataFrame, level: Any
) -> None:
    with pytest.raises(ValueError, match=r"level must be a number between 0 and 1, got ['\[N19]"):
        imputer.intervals(frame, level=level)


def test_estimates_that_are_no_table_of_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"results: rows of \[2, 1\] numbers, expected as many"):
        pool([[1, 2], [1]], [[1, 2], [1, 2]])
    with pytest.raises(ValueError, match=r"standard_errors: rows of \[2, 1\] numbers"):
        pool([[1, 2], [1, 2]], [[1, 2], [1]])
    with pytest.raises(ValueError, match=r"standard_errors: of shape \(\), expected that of the"):
        pool([1.0, 2.0], 0.5)
    with pytest.raises(TypeError, match=r"results: \['a', 'b'\], expected numbers"):
        pool(["a", "b"], [1, 2])
    with pytest.raises(ValueError, match="level: 'x'"):
        pool([1, 2], [1, 2], level="x")  # type: ignore[arg-type]


def test_a_column_that_mixes_numbers_and_strings_is_told_with_an_example_of_each(
    imputer: GeneratorImputer, frame: pd.DataFrame
) -> None:
    mixed = frame.assign(wing=[1.5, "n/a"] * 20)
    message = r"column 'wing' .* numbers and strings mixed, such as 1\.5 and 'n/a'; .*to_numeric"
    with pytest.raises(TypeError, match=message):
        _quick().fit(mixed)
    with pytest.raises(ValueError, match=message):
        imputer.transform(mixed)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("a", r"limits\['bill'\], the lower one, must hold finite numbers, .* got 'a'"),
        (-np.inf, r"limits\['bill'\], the lower one, must hold finite numbers, .* got -inf"),
        (99, r"limits\['bill'\]: limits leave 0 different exact values"),
    ],
)
def test_limits_are_blamed_for_what_they_are(frame: pd.DataFrame, limit: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _quick().fit(frame, limits={"bill": (limit, None)})


def test_limits_of_a_column_without_cells_are_left_out(frame: pd.DataFrame) -> None:
    empty = frame.assign(nothing=np.nan)
    limits = {"nothing": (1.0, None)}
    with pytest.warns(UserWarning, match="no observed cell"):
        filled = _quick().fit_transform(empty, limits=limits)
    assert list(filled) == ["bill", "wing"]


def test_a_series_of_limits_is_aligned_by_the_index(frame: pd.DataFrame) -> None:
    """Every second cell lies below a limit of its own, which the Series holds in another order."""
    limit = pd.Series(np.where(np.arange(40) % 2, frame["bill"], np.nan), frame.index)
    rows = frame.assign(bill=frame["bill"].mask(limit.notna()))
    fits = [
        _quick().fit_transform(rows, limits={"bill": (given, None)})
        for given in (limit.to_numpy(), limit, limit[::-1])
    ]
    assert (fits[0]["bill"] <= frame["bill"]).all()
    for filled in fits[1:]:
        pd.testing.assert_frame_equal(filled, fits[0])
    with pytest.raises(
        ValueError, match=r"the lower one, must be a Series with the index .*bird 0"
    ):
        _quick().fit(rows, limits={"bill": (limit.reset_index(drop=True), None)})


@pytest.mark.parametrize("kinds", [None, {"bill": Censored(Gaussian())}])
def test_forgotten_limits_are_told(
    frame: pd.DataFrame, kinds: dict[str, Gaussian | Censored] | None
) -> None:
    limit = float(frame["bill"].quantile(0.3))
    rows = frame.assign(bill=frame["bill"].clip(limit))
    fitted = _quick(kinds=kinds).fit(rows, limits={"bill": (limit, None)})
    with pytest.warns(UserWarning, match="column 'bill' had limits in fit, and has none"):
        filled = fitted.transform(rows)
    pd.testing.assert_series_equal(filled["bill"], rows["bill"])
    # Said to have none, without a warning.
    pd.testing.assert_frame_equal(fitted.transform(rows, limits={"bill": (None, None)}), filled)


@pytest.mark.parametrize("dtype", ["category", "str", object])
def test_labels_that_are_identifiers_are_told_by_name(dtype: Any) -> None:
    labels = [f"2024-01-{day:02}" for day in range(1, 31)]
    with pytest.raises(ValueError, match="column 'day' holds 30 labels, all of them different"):
        storage_of("day", pd.Series(labels, dtype=dtype))
    with pytest.warns(UserWarning, match=r"column 'day' holds 30 different labels in 40 cells"):
        storage_of("day", pd.Series(labels + labels[:10], dtype=dtype))
    # Each in every second cell, and 20 in fewer than that: categories.
    assert len(storage_of("day", pd.Series(labels * 2, dtype=dtype)).labels) == 30
    assert len(storage_of("day", pd.Series(labels[:19] + ["x"] * 5, dtype=dtype)).labels) == 20


def test_estimates_are_matched_by_name() -> None:
    means = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    errors = pd.DataFrame({"b": [0.1, 0.1], "a": [9.0, 9.0]})
    pooled = pool(means, errors)
    assert pooled["within"].to_dict() == pytest.approx({"a": 81, "b": 0.01})
    with pytest.raises(ValueError, match=r"standard_errors: of \['b'\], expected the quantities"):
        pool(means, errors[["b"]])
    with pytest.raises(TypeError, match="results: Series, expected a DataFrame"):
        pool([means.loc[0], means.loc[1]], [errors.loc[0], errors.loc[1]])


def test_a_seed_is_a_whole_number_of_any_kind(
    imputer: GeneratorImputer, frame: pd.DataFrame
) -> None:
    (drawn,) = imputer.sample(frame, 1, seed=3)
    (again,) = imputer.sample(frame, 1, seed=np.int64(3))  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(drawn, again)
    with pytest.raises(TypeError, match=r"seed must be a whole number, got 1\.5"):
        imputer.sample(frame, 1, seed=1.5)  # type: ignore[arg-type]


def test_intervals_beyond_all_draws_are_told(
    imputer: GeneratorImputer, frame: pd.DataFrame
) -> None:
    with pytest.warns(UserWarning, match=r"all of num_draws=20 draws, .* num_draws=39 or more"):
        imputer.intervals(frame, level=0.95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imputer.intervals(frame, level=0.75)


def test_what_is_filled_does_not_depend_on_the_default_dtype(
    imputer: GeneratorImputer, frame: pd.DataFrame
) -> None:
    filled = imputer.transform(frame)
    torch.set_default_dtype(torch.float64)
    try:
        again = imputer.transform(frame)
    finally:
        torch.set_default_dtype(torch.float32)
    pd.testing.assert_frame_equal(filled, again)


def test_a_very_wide_table_can_be_learned_from() -> None:
    """The decay of the weights takes no more than half of them in a step."""
    wide = np.random.default_rng(0).normal(size=(8, 60))
    wide[0, :5] = np.nan
    filled = _quick(epochs=60, proper=False).fit_transform(wide)
    assert np.isfinite(filled).all()


def test_gaps_in_lists_beside_strings_are_gaps() -> None:
    rows = [[1.0, "a"], [np.nan, "b"], [2.0, "a"], [1.5, "b"], [np.nan, "a"]] * 4
    imputer = _quick(proper=False).fit(rows)
    assert list(imputer.columns_["missing"]) == [0.4, 0.0]
    filled = imputer.transform(rows)
    assert all(isinstance(cell, float) and np.isfinite(cell) for cell in filled[:, 0])
