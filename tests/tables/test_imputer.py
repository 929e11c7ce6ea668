import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from explainaway.tables import GeneratorImputer, stacking
from explainaway.tables.network import NetworkDraws


def _quick(**settings: Any) -> GeneratorImputer:
    quick = {"epochs": 20, "num_draws": 24, "proper": False, "random_state": 0}
    return GeneratorImputer(**{**quick, **settings})


def _mixed(n: int = 60, seed: int = 0, hidden: float = 0.2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a complete table of nine kinds of columns and one with hidden cells."""
    noise = np.random.default_rng(seed)
    z = noise.normal(size=n)
    other = z + 0.3 * noise.normal(size=n)
    frame = pd.DataFrame(
        {
            "length": z + 0.1 * noise.normal(size=n),
            "count": np.round(30 * np.exp(0.3 * z)),
            "alive": pd.array(other > 0, dtype="boolean"),
            "colour": np.where(other > 0.5, "red", np.where(other > -0.5, "green", "blue")),
            "grade": pd.Categorical.from_codes(
                np.digitize(other, [-0.7, 0.7]), ["low", "mid", "high"], ordered=True
            ),
            "age": pd.array(np.round(40 + 10 * z).astype(int), dtype="Int64"),
            "seen": pd.Timestamp("2021-01-01") + pd.to_timedelta(np.round(100 * z), unit="D"),
            "small": z.astype("float32"),
            "rain": np.where(z < 0, 0.0, z),
        },
        index=pd.Index([f"row {i}" for i in range(n)], name="id"),
    )
    return frame, frame.mask(noise.random(frame.shape) < hidden)


@parametrize_with_checks([GeneratorImputer(epochs=2, num_draws=8, random_state=0)])
def test_scikit_learn_checks(estimator: GeneratorImputer, check: Any) -> None:
    check(estimator)


def test_a_table_comes_back_filled_with_the_kinds_and_cells_that_it_had() -> None:
    _, holes = _mixed()
    before = holes.copy(deep=True)
    imputer = _quick(proper=True).fit(holes)
    for filled in (imputer.transform(holes), *imputer.sample(holes, num_draws=2, seed=1)):
        assert not filled.isna().any(axis=None)
        pd.testing.assert_index_equal(filled.index, holes.index)
        pd.testing.assert_index_equal(filled.columns, holes.columns)
        assert (filled.dtypes == holes.dtypes).all()
        for name in holes:
            seen = holes[name].notna()
            pd.testing.assert_series_equal(filled[name][seen], holes[name][seen], check_exact=True)
    pd.testing.assert_frame_equal(holes, before)


def test_kinds_are_inferred_and_shown() -> None:
    _, holes = _mixed()
    kinds = _quick(epochs=1).fit(holes).columns_["kind"]
    assert dict(kinds) == {
        "length": "normal scores",
        "count": "normal scores",
        "alive": "Bernoulli",
        "colour": "Categorical(3)",
        "grade": "Ordinal(3)",
        "age": "normal scores",
        "seen": "normal scores",
        "small": "normal scores",
        "rain": "normal scores, often 0",
    }


def test_what_is_drawn_are_values_such_as_the_column_holds() -> None:
    frame, holes = _mixed()
    for filled in _quick().fit(holes).sample(holes, num_draws=5):
        assert (filled["count"] == filled["count"].round()).all()
        assert set(filled["colour"]) <= set(frame["colour"])
        assert filled["length"].between(holes["length"].min(), holes["length"].max()).all()
        assert (filled["seen"].dt.normalize() == filled["seen"]).all()
    drawn = pd.concat(_quick().fit(holes).sample(holes, num_draws=20))["rain"]
    assert 0.3 < (drawn == 0).mean() < 0.7


@pytest.mark.slow
def test_hidden_cells_are_predicted_from_what_is_observed() -> None:
    """Far better than by the column alone: every column is a function of one latent and noise."""
    frame, holes = _mixed(n=150, seed=1)
    imputer = GeneratorImputer(random_state=0, num_draws=60).fit(holes)
    filled = imputer.transform(holes)
    for name in ("length", "count", "age", "small"):
        hidden = holes[name].isna()
        errors = (filled[name] - frame[name])[hidden].astype(float)
        assert (errors**2).mean() < 0.3 * frame[name].astype(float).var(), name
    hidden = holes["colour"].isna()
    assert (filled["colour"] == frame["colour"])[hidden].mean() > 0.65
    shares = imputer.predict_proba(holes)["colour"]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares[hidden].idxmax(axis=1) == filled["colour"][hidden]).all()
    seen = shares[~hidden]
    np.testing.assert_array_equal(seen, pd.get_dummies(frame["colour"][~hidden]))


def test_draws_have_the_spread_of_the_exact_conditional() -> None:
    """Two standard normal columns of correlation .8: y2 given y1 is N(.8 y1, .36).

    Over 150 hidden cells the errors of the parameters, learned from 350 rows, are some 6 %.
    """
    noise = np.random.default_rng(3)
    y = noise.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=500)
    y[:150, 1] = np.nan
    imputer = GeneratorImputer(random_state=0, epochs=200).fit(y)
    draws = np.stack(imputer.sample(y, num_draws=100, seed=1))[:, :150, 1]
    assert np.corrcoef(draws.mean(0), y[:150, 0])[0, 1] > 0.98
    slope = np.polyfit(y[:150, 0], draws.mean(0), 1)[0]
    assert slope == pytest.approx(0.8, abs=0.12)
    assert draws.std(0).mean() == pytest.approx(0.6, abs=0.07)


def test_intervals_hold_the_share_of_draws_that_they_say() -> None:
    _, holes = _mixed()
    imputer = _quick(num_draws=100).fit(holes)
    lower, upper = imputer.intervals(holes, level=0.8)
    draws = np.stack([f["length"].to_numpy() for f in imputer.sample(holes, 200, seed=5)])
    hidden = holes["length"].isna().to_numpy()
    inside = (draws >= lower["length"].to_numpy()) & (draws <= upper["length"].to_numpy())
    # Ends from 100 draws: about .8, the standard error over 12 cells some .015.
    assert inside[:, hidden].mean() == pytest.approx(0.8, abs=0.06)
    assert inside[:, ~hidden].all()
    assert list(lower) == ["length", "count", "age", "seen", "small", "rain"]
    assert lower["seen"].dtype == holes["seen"].dtype


def test_the_score_is_that_of_the_columns_own_units() -> None:
    """A column times ten has densities a tenth as large: log 10 less for each of its cells."""
    noise = np.random.default_rng(0)
    y = noise.normal(size=(80, 3)) + noise.normal(size=(80, 1))
    scores = [_quick().fit(y * unit).score(y * unit) for unit in (1.0, 10.0)]
    assert scores[0] - scores[1] == pytest.approx(np.log(10), abs=1e-3)


def test_the_score_of_a_known_table_is_its_exact_density() -> None:
    """Independent columns: minus the entropy, 1.42 nats for a normal one, ± .1 by 100 cells."""
    y = np.random.default_rng(0).normal(size=(500, 2))
    score = GeneratorImputer(random_state=0, epochs=100).fit(y).score(y)
    assert score == pytest.approx(-0.5 * np.log(2 * np.pi * np.e), abs=0.2)


def test_the_density_of_a_column_with_a_repeated_value_adds_up_to_one() -> None:
    """The probability of the value and the integral over all others, given what else is known."""
    noise = np.random.default_rng(0)
    z = noise.normal(size=80)
    rain = np.where(z < 0, 0.0, z + 0.3 * noise.gamma(2.0, size=80))
    fitted = _quick().fit(np.stack([rain, z], 1)).fitted_
    hurdle, table = fitted.table.models[0], fitted.table
    assert hurdle.summary == "normal scores, often 0"
    ends = hurdle.rest.scores
    slopes = np.diff(ends.values) / np.diff(ends.scores)
    grid = np.linspace(
        ends.values[0] - 5.9 * slopes[0] - ends.scores[0] * slopes[0],
        ends.values[-1] + (5.9 - ends.scores[-1]) * slopes[-1],
        20_001,
    )
    grid[np.abs(grid) < 1e-12] = 1e-12
    rows = np.array([[np.nan, 0.3]])
    network = fitted.members[0]
    given = table.rows(rows, np.isnan(rows))
    drawn = network.drawn(given, np.arange(1), 40, 0)
    cells = np.stack([np.append(grid, 0.0), np.full(len(grid) + 1, 0.3)], 1)
    latents = drawn.latents.expand(-1, len(cells), -1)
    everywhere = NetworkDraws(network, given, latents, drawn.cells)
    density = np.exp(
        everywhere.log_densities(table.rows(cells, np.zeros(cells.shape, dtype=bool)))[:, 0]
    )
    assert 0.01 < density[-1] < 0.99
    # Steps of the density at knots, a grid of 20,000 points: errors of some 1e-4.
    total = density[-1] + np.trapezoid(density[:-1], grid)
    assert total == pytest.approx(1, abs=2e-3)


def test_new_rows_empty_rows_empty_columns_and_constants() -> None:
    _, holes = _mixed()
    table = holes.assign(one=7.0, nothing=np.nan)
    table.iloc[0] = np.nan
    table.loc["row 5", "one"] = np.nan
    with pytest.warns(UserWarning, match=r"columns \['nothing'\] have no observed cell"):
        imputer = _quick().fit(table)
    filled = imputer.transform(table.iloc[:6])
    assert list(filled) == [name for name in table if name != "nothing"]
    assert list(imputer.get_feature_names_out()) == list(filled)
    assert not filled.isna().any(axis=None)
    assert (filled["one"] == 7).all()
    kept = _quick(keep_empty_features=True).fit(table).transform(table)
    assert kept["nothing"].isna().all()
    assert list(kept) == list(table)


def test_a_number_beside_the_few_that_fit_has_seen_is_told_and_stays() -> None:
    noise = np.random.default_rng(0)
    y = np.stack([noise.integers(0, 4, 60).astype(float), noise.normal(size=60)], 1)
    imputer = _quick(epochs=5).fit(y)
    with pytest.warns(UserWarning, match=r"column 'x0' .* others in 1 of its cells, such as 7"):
        filled = imputer.transform(np.array([[7.0, np.nan], [1.0, 0.5]]))
    assert filled[0, 0] == 7
    assert np.isfinite(filled).all()


def test_a_table_of_constants_needs_no_model() -> None:
    filled = _quick().fit_transform(np.array([[1.0, 2.0], [np.nan, 2.0], [1.0, np.nan]]))
    np.testing.assert_array_equal(filled, [[1, 2], [1, 2], [1, 2]])


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**30])
def test_units_do_not_matter(unit: float) -> None:
    _, holes = _mixed()
    holes = holes[["length", "alive", "rain"]]
    small = holes.assign(length=holes["length"] * unit, rain=holes["rain"] * unit)
    (one,), (other,) = (
        _quick(epochs=3, proper=True).fit(frame).sample(frame, 1) for frame in (holes, small)
    )
    for name in ("length", "rain"):
        np.testing.assert_allclose(other[name] / unit, one[name], rtol=1e-6)
    assert (other["alive"] == one["alive"]).all()


def test_a_constant_label_has_its_probability() -> None:
    frame = pd.DataFrame({"kind": ["ok", None, "ok", "ok"] * 5, "length": np.arange(20.0)})
    frame["group"] = ["a", "b"] * 10
    imputer = _quick(epochs=2).fit(frame)
    with pytest.warns(UserWarning, match="labels that fit has not seen in 1 of its cells"):
        shares = imputer.predict_proba(frame.assign(kind=["new", *frame["kind"][1:]]))
    assert list(shares) == ["kind", "group"]
    np.testing.assert_array_equal(shares["kind"]["ok"], [np.nan] + [1] * 19)


def test_arrays_come_back_as_arrays_of_their_dtype() -> None:
    y = np.random.default_rng(0).normal(size=(30, 3)).astype("float32")
    y[:5, 0] = np.nan
    filled = _quick().fit_transform(y)
    assert isinstance(filled, np.ndarray)
    assert filled.dtype == np.float32
    framed = _quick().set_output(transform="pandas").fit_transform(y)
    assert list(framed) == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(framed, filled)
    mixed = np.array([["a", 1.5], [None, 2.5], ["b", np.nan], ["a", 0.5]] * 5, dtype=object)
    assert not pd.isna(_quick().fit_transform(mixed)).any()


def test_the_same_seed_gives_the_same_bits_and_leaves_random_states_alone() -> None:
    holes = _mixed(30)[1][["length", "colour", "rain"]]
    states = np.random.get_state()[1].tolist(), torch.get_rng_state()
    first, second = (_quick(epochs=5, proper=True).fit(holes) for _ in range(2))
    pd.testing.assert_frame_equal(first.transform(holes), second.transform(holes))
    pd.testing.assert_frame_equal(first.sample(holes, 1)[0], second.sample(holes, 1)[0])
    assert states[0] == np.random.get_state()[1].tolist()
    assert torch.equal(states[1], torch.get_rng_state())
    other = clone(first).set_params(random_state=1).fit(holes).transform(holes)
    assert not other.equals(first.transform(holes))


def test_what_was_pickled_fills_with_the_same_bits() -> None:
    holes = _mixed(30)[1][["length", "colour", "rain"]]
    imputer = _quick(epochs=5).fit(holes)
    again = pickle.loads(pickle.dumps(imputer))
    pd.testing.assert_frame_equal(imputer.transform(holes), again.transform(holes))


def test_it_stands_in_pipelines_and_grids() -> None:
    noise = np.random.default_rng(0)
    y = noise.normal(size=(60, 4)) + noise.normal(size=(60, 1))
    y[noise.random(y.shape) < 0.2] = np.nan
    target = noise.normal(size=60)
    fitted = make_pipeline(_quick(epochs=5), StandardScaler(), LinearRegression()).fit(y, target)
    assert fitted.predict(y).shape == (60,)
    grid = GridSearchCV(_quick(epochs=5), {"latent_dim": [1, 3]}, cv=2).fit(y)
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()


def test_proper_draws_vary_as_the_parameters_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 18 rows the mean is known to 1/√18 of the spread, .24: so draws of parameters differ.

    A column that nothing predicts, all draws of a normal model. The noise of a mean over 100 draws
    is .1, and 40 of them say how much they differ to 11 %.
    """
    y = np.random.default_rng(0).normal(size=(20, 2))
    y[:2, 1] = np.nan
    monkeypatch.setattr(stacking, "best_shares", lambda draws, *_: np.eye(len(draws))[1])
    found = {}
    for proper in (True, False):
        imputer = GeneratorImputer(proper=proper, epochs=90, num_draws=80, random_state=0).fit(y)
        _, rows = imputer._rows(y, None)
        drawn = imputer.fitted_.members[0].drawn(rows, np.arange(20), 4000, seed=1).completed()
        means = drawn[:, 0, 1].reshape(40, 100).mean(1)
        found[proper] = (means / np.nanstd(y[:, 1])).std()
    assert 0.16 < found[True] < 0.5
    assert found[False] < 0.14


def test_progress_is_shown_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    y = np.random.default_rng(0).normal(size=(30, 2))
    _quick(epochs=3, proper=True).fit(y)
    assert capsys.readouterr().err == ""
    _quick(epochs=3, proper=True, verbose=True).fit(y)
    assert "drawing parameters: 100%" in capsys.readouterr().err
