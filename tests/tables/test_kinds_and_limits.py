from typing import Any

import numpy as np
import pandas as pd
import pytest

from explainaway.models import (
    Categorical,
    Censored,
    Gaussian,
    Ordinal,
    Poisson,
    Truncated,
    observations,
)
from explainaway.tables import GeneratorImputer
from explainaway.tables.choice import chosen, given
from explainaway.tables.joint_normal import JointNormal
from explainaway.tables.limits import censored_by
from explainaway.tables.storage import storage_of


def _kind(cells: Any, most_levels: int = 20) -> str:
    series = pd.Series(cells)
    storage = storage_of("c", series)
    return chosen(storage, storage.read(series), most_levels).summary


NOISE = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (NOISE.normal(size=50), "normal scores"),
        (NOISE.integers(0, 6, 100), "Categorical(6)"),
        (NOISE.integers(0, 2, 100), "Bernoulli"),
        (NOISE.integers(0, 30, 100), "normal scores"),
        # Each value stands in less than five cells.
        (NOISE.integers(0, 15, 60), "normal scores"),
        ([3.0] * 10 + [np.nan], "constant"),
        (["a", "b", "a"], "Bernoulli"),
        (["a", "b", "c", "a"], "Categorical(3)"),
        ([*np.zeros(30), *NOISE.gamma(2.0, size=70)], "normal scores, often 0"),
        (pd.Categorical(["l", "m", "h"] * 4, ["l", "m", "h"], ordered=True), "Ordinal(3)"),
    ],
)
def test_a_column_is_modelled_as_what_it_looks_like(cells: Any, kind: str) -> None:
    assert _kind(cells) == kind


TOWNS = np.repeat(NOISE.gamma(2.0, size=40), [*[20] * 39, 400])
"""Tax rates of forty towns, one with a third of the rows: the inverse of Simpson's index is 8, and
35 have nine tenths of the cells."""


def test_numbers_that_repeat_are_categories() -> None:
    middle = np.r_[TOWNS, TOWNS.min() - 1, TOWNS.max() + 1]
    assert _kind(middle) == "Categorical(42)"
    assert _kind(middle, most_levels=7).startswith("normal scores, often")
    # Each town of another region has one row: every sixth cell is new.
    assert _kind([*middle, *NOISE.normal(size=240)]).startswith("normal scores, often")


@pytest.mark.parametrize("size", [300, 5000])
def test_counts_and_years_of_age_are_measurements(size: int) -> None:
    """Many of their values have most of the cells, or they end in a frequent one."""
    ages = np.clip(NOISE.normal(40, 5, size).round(), 18, 70)
    assert _kind(ages).startswith("normal scores")
    rain = np.maximum(NOISE.normal(-3, 15, size), 0).round()
    assert _kind(rain) == "normal scores, often 0"
    days = NOISE.geometric(1 / 12, size)
    assert _kind(days).startswith("normal scores")


def test_few_different_numbers_are_scores_if_asked_for() -> None:
    assert _kind(NOISE.integers(0, 6, 100), most_levels=2) == "normal scores"
    assert "normal scores" in _kind(np.repeat([1.0, 2.0, 3.0], [200, 8, 8]), most_levels=2)


GRADES = pd.Categorical(["A", "B", "A"], ["A", "B", "C", "D"], ordered=True)


@pytest.mark.parametrize(
    ("kind", "cells", "message"),
    [
        (Ordinal(3), [1.0, 2.0, 5.0, 7.0], r"kinds\['c'\] is Ordinal with 3 levels, but .* 4"),
        (Categorical(4), ["a", "b", "a"], r"kinds\['c'\] is Categorical with 4 levels"),
        (Gaussian(), ["a", "b", "a"], r"kinds\['c'\] must be Bernoulli\(\), Categorical"),
        (
            Ordinal(3),
            ["low", "mid", "high", "low"],
            "such as 'high' have no order: make the",
        ),
        (Ordinal(4), GRADES, r"with 4 levels, but the column holds the 2 labels \['A', 'B'\]"),
        (Censored(Gaussian(), lower=1.0), [1.0, 1.0, 1.0], "but all observed cells are 1: how"),
    ],
)
def test_kinds_that_do_not_fit_are_refused_by_name(kind: Any, cells: Any, message: str) -> None:
    series = pd.Series(cells)
    storage = storage_of("c", series)
    with pytest.raises(ValueError, match=message):
        given(kind, storage, storage.read(series))


def test_grades_that_do_not_occur_count_too() -> None:
    series = pd.Series([1.0, 2.0, 4.0, 1.0])
    storage = storage_of("c", series)
    found = given(Ordinal(4), storage, storage.read(series)).levels
    np.testing.assert_array_equal(found, [1, 2, 3, 4])


@pytest.fixture
def table() -> pd.DataFrame:
    noise = np.random.default_rng(1)
    z = noise.normal(size=80)
    return pd.DataFrame(
        {
            "a": z + 0.2 * noise.normal(size=80),
            "n": noise.poisson(np.exp(1 + 0.5 * z)).astype(float),
            "stage": np.digitize(z, [-0.5, 0.5]) + 1.0,
        }
    ).mask(noise.random((80, 3)) < 0.15)


def test_given_kinds_are_what_is_learned(table: pd.DataFrame) -> None:
    kinds = {"a": observations.StudentT(5.0), "n": Poisson(), "stage": Ordinal(3)}
    imputer = GeneratorImputer(kinds, epochs=20, num_draws=24, random_state=0).fit(table)
    assert dict(imputer.columns_["kind"]) == {
        "a": "StudentT",
        "n": "Poisson",
        "stage": "Ordinal(3)",
    }
    network = imputer.set_params(proper=False).fit(table).fitted_.members[0].model
    learned = [type(kind) for kind in network.observation.base.kinds]
    assert learned == [observations.StudentT, Poisson, Ordinal]
    for filled in imputer.sample(table, 3):
        assert (filled["n"] == filled["n"].round()).all()
        assert filled["stage"].isin([1, 2, 3]).all()
    assert kinds["a"].log_scale.item() == 0.0


def test_columns_of_one_kind_have_a_scale_each() -> None:
    """One of the columns is three times as noisy as the others, given the latent."""
    noise = np.random.default_rng(0)
    z = noise.normal(size=(300, 1))
    y = z + noise.normal(size=(300, 4)) * np.array([0.5, 0.5, 0.5, 1.5])
    imputer = GeneratorImputer(latent_dim=1, proper=False, random_state=0).fit(y)
    model = imputer.fitted_.members[0].model
    scales = model.observation.base.kinds[0].scale.detach().numpy()
    # Of standardised columns: .5 / √1.25 and 1.5 / √3.25, each known to 4 % and more.
    np.testing.assert_allclose(scales, [0.45, 0.45, 0.45, 0.83], rtol=0.15)


def test_settings_that_are_not_numbers_of_their_kind_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises((TypeError, ValueError), match="num_draws"):
        GeneratorImputer(num_draws=0).fit(table)
    with pytest.raises(ValueError, match="decay must be 0 or a positive number, got -1"):
        GeneratorImputer(decay=-1).fit(table)


def test_unknown_kinds_and_limits_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(
        ValueError, match=r"kinds name 'b', but the columns are \['a', 'n', 'stage'\]"
    ):
        GeneratorImputer({"b": Poisson()}).fit(table)
    with pytest.raises(TypeError, match="kinds must be a mapping"):
        GeneratorImputer([Poisson()]).fit(table)
    with pytest.raises(ValueError, match="limits name 'b'"):
        GeneratorImputer().fit(table, limits={"b": (0.0, None)})
    with pytest.raises(TypeError, match=r"limits\['a'\] must be a pair"):
        GeneratorImputer().fit(table, limits={"a": 0.0})
    with pytest.raises(ValueError, match=r"limits\['a'\], the lower one, .* 80 rows, got 3"):
        GeneratorImputer().fit(table, limits={"a": ([0.0, 1.0, 2.0], None)})
    with pytest.raises(ValueError, match=r"limits\['stage'\] need a censored kind"):
        GeneratorImputer({"stage": Ordinal(3)}).fit(table, limits={"stage": (1.0, None)})


def _planted(n: int = 200) -> tuple[pd.DataFrame, float]:
    """Return a log-normal column known from a limit on, a third of it below, and what predicts."""
    noise = np.random.default_rng(2)
    z = noise.normal(size=n)
    frame = pd.DataFrame(
        {"lead": np.exp(z + 0.3 * noise.normal(size=n)), "near": z + 0.3 * noise.normal(size=n)}
    )
    return frame, float(frame["lead"].quantile(1 / 3))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["limits", "cell by cell", "kinds"])
def test_censored_cells_are_filled_below_their_limit(way: str) -> None:
    truth, limit = _planted()
    below = truth["lead"] <= limit
    recorded = truth.assign(lead=truth["lead"].clip(lower=limit))
    kinds, limits = None, {"lead": (limit, None)}
    if way == "cell by cell":
        recorded["lead"] = truth["lead"].mask(below)
        limits = {"lead": (np.where(below, limit, np.nan), None)}
    if way == "kinds":
        kinds, limits = {"lead": Censored(Gaussian(), lower=limit)}, None
    imputer = GeneratorImputer(kinds, epochs=60, num_draws=40, random_state=0)
    filled = imputer.fit_transform(recorded, limits=limits)
    drawn = imputer.sample(recorded, 4, limits=limits)
    for made in (filled, *drawn):
        assert (made["lead"][below] <= limit).all()
        pd.testing.assert_series_equal(made["lead"][~below], truth["lead"][~below])
    # The lower what predicts it, the lower it is.
    assert np.corrcoef(filled["lead"][below], truth["near"][below])[0, 1] > 0.5


def test_a_cell_that_the_score_hides_is_not_taken_for_one_beyond_its_limit() -> None:
    """A missing cell with a limit of its own lies beyond it; a hidden one does not."""
    truth, limit = _planted(60)
    recorded = truth.assign(lead=truth["lead"].clip(lower=limit))
    imputer = GeneratorImputer(epochs=5, num_draws=16, random_state=0)
    imputer.fit(recorded, limits={"lead": (limit, None)})
    one = imputer.score(recorded, limits={"lead": (limit, None)})
    each = imputer.score(recorded, limits={"lead": (np.full(60, limit), None)})
    assert each == one


@pytest.mark.slow
def test_limits_give_the_mean_spread_and_correlation_of_what_was_not_seen() -> None:
    """A third of 400 cells lies below the limit; errors of a few hundredths are those of sampling.

    A network that bends below the limit would carry cells away from it without end: the spread
    came out at 1.65.
    """
    truth, limit = _planted(400)
    below = truth["lead"] <= limit
    limits = {"lead": (limit, None)}
    recorded = truth.assign(lead=truth["lead"].clip(lower=limit))
    imputer = GeneratorImputer(epochs=600, random_state=0).fit(recorded, limits=limits)
    draws = imputer.sample(recorded, 20, seed=1, limits=limits)
    logs, true = np.log(np.stack([draw["lead"] for draw in draws])), np.log(truth["lead"])
    assert logs.std(1).mean() == pytest.approx(true.std(), abs=0.08)
    assert logs[:, below].mean() == pytest.approx(true[below].mean(), abs=0.12)
    correlation = np.mean([np.corrcoef(some, truth["near"])[0, 1] for some in logs])
    assert correlation == pytest.approx(np.corrcoef(true, truth["near"])[0, 1], abs=0.04)


def test_a_cell_of_single_precision_at_its_limit_is_censored() -> None:
    """0.1 in float32 is read as 0.10000000149, which lies above 0.1."""
    cells = pd.Series([0.1, 0.2, np.nan, 0.05], dtype="float32")
    storage = storage_of("lead", cells)
    lower, upper = censored_by(storage, (0.1, 0.2), storage.read(cells))
    np.testing.assert_array_equal(lower, [0.1, np.nan, np.nan, 0.1])
    np.testing.assert_array_equal(upper, [np.nan, 0.2, np.nan, np.nan])


def test_a_missing_cell_lies_beyond_the_only_limit_of_its_own() -> None:
    cells = pd.Series([np.nan, np.nan, np.nan, 5.0])
    low, high = np.array([1.0, 1.0, np.nan, 1.0]), np.array([4.0, np.nan, 4.0, 4.0])
    storage = storage_of("lead", cells)
    lower, upper = censored_by(storage, (low, high), storage.read(cells))
    np.testing.assert_array_equal(lower, [np.nan, 1, np.nan, np.nan])
    np.testing.assert_array_equal(upper, [np.nan, np.nan, 4, 4])


def test_draws_of_a_truncated_kind_keep_to_its_limits() -> None:
    noise = np.random.default_rng(0)
    z = noise.normal(size=80)
    frame = pd.DataFrame({"x": np.abs(z), "near": np.abs(z) + 0.1 * noise.normal(size=80)})
    hidden = frame["x"] < 0.3
    table = frame.assign(x=frame["x"].mask(hidden))
    imputer = GeneratorImputer(
        {"x": Truncated(Gaussian(), 0.0)}, epochs=20, num_draws=20, random_state=0
    ).fit(table)
    assert imputer.columns_.loc["x", "kind"] == "Truncated(Gaussian)"
    assert isinstance(imputer.fitted_.members[-1], JointNormal)
    for drawn in imputer.sample(table, 40):
        assert (drawn["x"] >= 0).all()


def test_dates_of_few_values_are_named_as_dates() -> None:
    """In the table of columns, in probabilities and in what is told of unseen ones."""
    days = pd.Series(pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"] * 8))
    frame = pd.DataFrame({1: days, 7: np.arange(24.0)})
    frame.loc[0, 1] = pd.NaT
    imputer = GeneratorImputer(epochs=2, num_draws=4, proper=False, random_state=0).fit(frame)
    chances = imputer.predict_proba(frame)[1]
    assert list(chances.columns) == list(pd.to_datetime(days.unique()))
    with pytest.warns(UserWarning, match="such as 2024-01-11 00:00:00"):
        imputer.transform(pd.DataFrame({1: days + pd.Timedelta("10D"), 7: np.arange(24.0)}))
    spiked = days[0] + pd.to_timedelta(np.maximum(np.arange(24) - 12, 0), "D")
    assert _kind(spiked) == "normal scores, often 2024-01-01 00:00:00"


def test_columns_whose_names_meet_are_kept_apart() -> None:
    """A measurement with a spike has a second column in the model, named by the first."""
    noise = np.random.default_rng(0)
    rain = np.maximum(noise.normal(size=60), 0)
    frame = pd.DataFrame({"rain": rain, "rain (1)": noise.normal(size=60)})
    frame.loc[:3, "rain"] = np.nan
    filled = GeneratorImputer(epochs=2, num_draws=4, proper=False).fit_transform(frame)
    assert filled.notna().all(axis=None)
