"""Normal models of tables: their noise, rows and parameters against closed forms."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from numpy.typing import NDArray

from explainaway.models import Censored, Gaussian
from explainaway.tables.coordinates import Coordinates
from explainaway.tables.joint_normal import (
    MOST_LEVELS,
    JointNormal,
    NormalRecipe,
    _Sampler,
    is_narrow,
)
from explainaway.tables.normal_noise import inverse_log_ndtr, inverse_wishart, truncated_normal
from explainaway.tables.normal_rows import Missing, NormalRows, Parameters, category_energies
from explainaway.tables.table import Rows, Table

EPOCHS = 300


def _table(frame: pd.DataFrame, **kinds: object) -> tuple[Table, Rows]:
    table = Table.of(frame, kinds, {}, 20)
    return table, table.rows(*table.read(frame))


def _gaussian(y: NDArray[np.float64]) -> tuple[Table, Rows]:
    """Return a table whose columns are normal as they are."""
    names = [f"x{k}" for k in range(y.shape[1])]
    return _table(pd.DataFrame(y, columns=names), **{name: Gaussian() for name in names})


def _model(
    table: Table, rows: Rows, coordinates: Coordinates, epochs: int, **settings: Any
) -> JointNormal:
    return NormalRecipe(table, coordinates, epochs, **settings).model(rows)


def _given(mean: list[float], covariance: NDArray[np.float64], maps: int) -> Parameters:
    matrix = torch.as_tensor(covariance)
    return Parameters(
        torch.tensor(mean).double(), matrix, torch.linalg.inv(matrix), (0,) * maps, []
    )


def test_an_inverse_wishart_draw_has_its_mean_and_its_inverse() -> None:
    """4,000 draws, 10 degrees of freedom: elements' deviations are .4 of them, errors .006."""
    scale = torch.tensor([[2.0, 0.5, 0.1], [0.5, 1.0, -0.3], [0.1, -0.3, 1.5]]).double()
    noise = torch.Generator().manual_seed(0)
    draws = [inverse_wishart(10.0, scale, noise) for _ in range(4000)]
    mean = torch.stack([draw for draw, _ in draws]).mean(0)
    torch.testing.assert_close(mean, scale / 6, rtol=0, atol=5 * 0.4 * 2 / 6 / 4000**0.5)
    draw, inverse = draws[0]
    torch.testing.assert_close(draw @ inverse, torch.eye(3).double())


def test_quantiles_far_out_are_those_of_their_logarithms() -> None:
    x = torch.tensor([-0.3, -4.0, -20.0, -24.0, -40.0, -200.0]).double()
    torch.testing.assert_close(inverse_log_ndtr(torch.special.log_ndtr(x)), x)


@pytest.mark.parametrize(
    ("low", "high"), [(-1, 0.5), (2, np.inf), (-np.inf, -9), (30, 31), (4, 4.1)]
)
def test_truncated_normal_draws_have_the_distribution(low: float, high: float) -> None:
    uniform = (torch.arange(2000).double() + 0.5) / 2000
    ends = [torch.full((2000,), end).double() for end in (low, high)]
    mean, scale = torch.tensor(1.0).double(), torch.tensor(2.0).double()
    drawn = truncated_normal(mean, scale, *ends, uniform).sort().values.numpy()
    a, b = (low - 1) / 2, (high - 1) / 2
    true = np.sort(scipy.stats.truncnorm.ppf(uniform, a, b, loc=1, scale=2))
    np.testing.assert_allclose(drawn, true, rtol=1e-6, atol=1e-6)


def test_missing_numbers_have_their_exact_distribution_given_the_others() -> None:
    """Two missing cells of four, 4,000 rows that are alike: moments within five errors."""
    noise = np.random.default_rng(0)
    root = noise.normal(size=(4, 4))
    covariance, mean = root @ root.T + 0.1 * np.eye(4), [1.0, -1.0, 0.5, 0.0]
    y = np.tile([0.3, np.nan, np.nan, 0.4], (4000, 1))
    _, rows = _gaussian(noise.multivariate_normal(mean, covariance, size=50))
    table, rows = _gaussian(np.concatenate([rows.numbers, y]))
    coordinates = Coordinates.of(table, rows, indicators=False)
    # The maps standardise: undone here.
    plain = [dataclasses.replace(c.maps[0], loc=0.0, scale=1.0) for c in coordinates.numbers]
    numbers = [
        dataclasses.replace(c, maps=(m,)) for c, m in zip(coordinates.numbers, plain, strict=True)
    ]
    model = JointNormal(
        table, dataclasses.replace(coordinates, numbers=numbers), [_given(mean, covariance, 4)]
    )
    some = rows.some(np.arange(50, 4050))
    (drawn,) = model.drawn(some, np.arange(4000), 1, seed=0).completed()
    hidden, seen = [1, 2], [0, 3]
    slope = covariance[np.ix_(hidden, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    expected = np.array(mean)[hidden] + slope @ (np.array([0.3, 0.4]) - np.array(mean)[seen])
    spread = covariance[np.ix_(hidden, hidden)] - slope @ covariance[np.ix_(seen, hidden)]
    errors = np.sqrt(spread.diagonal() / 4000)
    assert (np.abs(drawn[:, hidden].mean(0) - expected) < 5 * errors).all()
    assert np.cov(drawn[:, hidden].T) == pytest.approx(spread, abs=5 * 1.5 * spread.max() / 63)


def test_a_cell_below_its_limit_has_the_truncated_distribution() -> None:
    noise = np.random.default_rng(0)
    y = noise.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=4050)
    y[50:] = [1.0, -0.5]
    frame = pd.DataFrame(y, columns=["x", "lead"])
    table, rows = _table(frame, x=Gaussian(), lead=Censored(Gaussian(), lower=-0.5))
    some = rows.some(np.arange(50, 4050))
    model = _model(table, rows.some(np.arange(50)), _plain(table, rows), 1, seed=0)
    parameters = _given([0.0, 0.0], np.array([[1.0, 0.8], [0.8, 1.0]]), 2)
    model = dataclasses.replace(model, parameters=[parameters])
    (drawn,) = model.drawn(some, np.arange(4000), 1, seed=0).completed()
    true = scipy.stats.truncnorm(-np.inf, (-0.5 - 0.8) / 0.6, loc=0.8, scale=0.6)
    assert drawn[:, 1].max() <= -0.5
    assert drawn[:, 1].mean() == pytest.approx(true.mean(), abs=5 * true.std() / 4000**0.5)
    assert drawn[:, 1].std() == pytest.approx(true.std(), rel=0.15)


def _plain(table: Table, rows: Rows) -> Coordinates:
    """Return coordinates that are the numbers themselves."""
    coordinates = Coordinates.of(table, rows, indicators=False)
    plain = [
        dataclasses.replace(c, maps=(dataclasses.replace(c.maps[0], loc=0.0, scale=1.0),))
        for c in coordinates.numbers
    ]
    return dataclasses.replace(coordinates, numbers=plain)


@pytest.mark.parametrize("missing", [[], [1]])
def test_chances_of_categories_are_those_of_the_rule_of_bayes(missing: list[int]) -> None:
    """p(k | x) is p(k) N(x | mean given k, covariance given k), missing numbers left out."""
    noise = np.random.default_rng(0)
    frame = pd.DataFrame({"x": noise.normal(size=60), "y": noise.normal(size=60)})
    frame["kind"] = noise.choice(["a", "b", "c"], 60)
    table, rows = _table(frame, x=Gaussian(), y=Gaussian())
    coordinates = Coordinates.of(table, rows, indicators=True)
    root = noise.normal(size=(4, 4))
    covariance, mean = root @ root.T + 0.2 * np.eye(4), noise.normal(size=4)
    parameters = _given(mean.tolist(), covariance, 2)
    shares = torch.tensor([0.2, 0.3, 0.5]).double()
    x = noise.normal(size=4)
    (category,) = coordinates.categories
    free = torch.zeros(1, 4).double()
    free[0, missing] = 1
    known = (1 - free) * torch.as_tensor(x - mean)
    # Two places that are not missing fill up.
    places = torch.tensor([[*missing, 2, 3]])
    is_missing = free.gather(1, places)
    precision = parameters.precision[places[:, :, None], places[:, None]]
    inside = is_missing[:, :, None] * is_missing[:, None] * precision
    factor = torch.linalg.cholesky(inside + torch.diag_embed(1 - is_missing))
    given = Missing(places, is_missing, factor)
    found = -category_energies(parameters, known, given, category, shares)
    own, others = [2, 3], [k for k in (0, 1) if k not in missing]
    slope = covariance[np.ix_(others, own)] @ np.linalg.inv(covariance[np.ix_(own, own)])
    within = covariance[np.ix_(others, others)] - slope @ covariance[np.ix_(own, others)]
    levels = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    means = [mean[others] + slope @ (level - mean[own]) for level in levels]
    densities = [scipy.stats.multivariate_normal.pdf(x[others], each, within) for each in means]
    expected = shares.numpy() * densities
    np.testing.assert_allclose(found.softmax(1)[0].numpy(), expected / expected.sum(), rtol=1e-6)


def test_missing_categories_are_drawn_as_often_as_they_are() -> None:
    """Three groups six deviations apart: given a drawn number its group would never change.

    Of 300 empty rows, 20 draws each: a share's error is .03 with that of the 90 known labels.
    """
    noise = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 30)
    frame = pd.DataFrame(
        {"x": 6.0 * group + noise.normal(size=90), "kind": np.array(list("abc"))[group]}
    )
    frame = pd.concat([frame, pd.DataFrame({"x": [np.nan] * 300})], ignore_index=True)
    table, rows = _table(frame, x=Gaussian())
    coordinates = Coordinates.of(table, rows, indicators=True)
    model = _model(table, rows.some(np.arange(90)), coordinates, EPOCHS, seed=0)
    empty = rows.some(np.arange(90, 390))
    drawn = model.drawn(empty, np.arange(300), 20, seed=0)
    shares = drawn.probabilities(1).mean(0)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.06)
    x, kind = np.moveaxis(drawn.completed(), -1, 0)
    for number in range(3):
        assert x[kind == number].mean() == pytest.approx(6 * number, abs=0.8)
    # Every row changes from draw to draw.
    assert (np.diff(kind, axis=0) != 0).any(0).all()


def test_a_slope_is_drawn_as_surely_as_a_regression_knows_it() -> None:
    """Correlation .8, 40 complete rows of 80: the slope's posterior is the regression's.

    Of 40 draws the spread is known to 11 %; the prior, of a covariance, moves the slope by less
    than a third of its error.
    """
    noise = np.random.default_rng(1)
    y = noise.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=80)
    y[:40, 1] = np.nan
    table, rows = _gaussian(y)
    coordinates = Coordinates.of(table, rows, indicators=False)
    model = _model(table, rows, coordinates, EPOCHS, seed=0)
    slopes = np.array([float(p.covariance[0, 1] / p.covariance[0, 0]) for p in model.parameters])
    x, known = (c.maps[0].to(y[40:, k]) for k, c in enumerate(coordinates.numbers))
    slope, offset = np.polyfit(x, known, 1)
    residual = known - offset - slope * x
    error = np.sqrt(residual.var(ddof=2) / ((x - x.mean()) ** 2).sum())
    assert slopes.mean() == pytest.approx(slope, abs=(1 / 3 + 4 / 40**0.5) * error)
    assert 0.6 * error < slopes.std() < 1.6 * error


def test_columns_that_determine_each_other_are_filled_in_exactly() -> None:
    """Age is education plus experience plus six: any two say the third, to the year."""
    noise = np.random.default_rng(0)
    education, experience = noise.integers(6, 19, 300), noise.integers(0, 40, 300)
    frame = pd.DataFrame(
        {"education": education, "experience": experience, "age": education + experience + 6}
    ).astype("Int64")
    frame["wage"] = np.exp(0.1 * education + noise.normal(size=300))
    hidden = noise.integers(0, 6, 300)
    given = frame.copy()
    for k in range(3):
        given.iloc[hidden == k, k] = pd.NA
    table, rows = _table(given)
    model = _model(table, rows, Coordinates.of(table, rows, indicators=False), EPOCHS, seed=0)
    (drawn,) = model.drawn(rows, np.arange(300), 1, seed=0).completed()
    truth = frame[["education", "experience", "age"]].to_numpy(float)
    assert (drawn[:, :3] == truth).mean() > 0.99
    # The skewed column is normal by its scores, the others as they are.
    assert model.parameters[-1].maps == (0, 0, 0, 1)


def test_a_value_that_a_third_of_the_cells_have_is_drawn_as_often() -> None:
    """Zeros of a column that is cut off at zero, of 500 rows: a share's error is .03."""
    noise = np.random.default_rng(0)
    x = noise.normal(size=500)
    frame = pd.DataFrame({"x": x, "rain": np.maximum(x + noise.normal(size=500) - 0.6, 0)})
    truth = (frame["rain"] == 0).mean()
    given = frame.mask(pd.DataFrame({"x": np.zeros(500, bool), "rain": noise.random(500) < 0.5}))
    table, rows = _table(given)
    coordinates = Coordinates.of(table, rows, indicators=False)
    assert coordinates.numbers[1].spikes
    model = _model(table, rows, coordinates, EPOCHS, seed=0)
    drawn = model.drawn(rows, np.arange(500), 20, seed=0).completed()[:, :, 1]
    hidden = given["rain"].isna().to_numpy()
    assert (drawn[:, hidden] == 0).mean() == pytest.approx(truth, abs=0.09)
    # It follows the other column as the truth does.
    high = hidden & (x > 0)
    assert (drawn[:, high] == 0).mean() == pytest.approx((frame["rain"][high] == 0).mean(), abs=0.1)


def test_densities_are_those_of_a_distribution() -> None:
    """Over a grid they sum to one, a value of its own counted by its probability."""
    noise = np.random.default_rng(0)
    x = noise.normal(size=300)
    frame = pd.DataFrame({"x": x, "rain": np.maximum(x + noise.normal(size=300), 0)})
    frame.loc[:9, "rain"] = np.nan
    table, rows = _table(frame)
    model = _model(table, rows, Coordinates.of(table, rows, indicators=False), EPOCHS, seed=0)
    some = rows.some(np.arange(10))
    drawn = model.drawn(some, np.arange(10), 5, seed=0)
    grid = np.concatenate([[0.0], np.geomspace(1e-3, 30, 600)])
    densities = []
    for value in grid:
        numbers = some.numbers.copy()
        numbers[:, 1] = value
        densities.append(drawn.log_densities(some._replace(numbers=numbers))[:, 1])
    density = np.exp(densities)
    total = density[0] + np.trapezoid(density[1:], grid[1:], axis=0)
    # The line through the lowest scores goes on below zero.
    assert total == pytest.approx(np.ones(10), abs=0.03)


def test_draws_of_a_row_do_not_depend_on_the_other_rows_and_a_seed_gives_the_same() -> None:
    noise = np.random.default_rng(0)
    frame = pd.DataFrame({"x": noise.normal(size=60), "y": noise.exponential(size=60)})
    frame["kind"] = pd.Series(np.where(noise.random(60) < 0.5, "a", "b")).mask(
        noise.random(60) < 0.3
    )
    frame.loc[noise.random(60) < 0.3, "x"] = np.nan
    for indicators in (False, True):
        table, rows = _table(frame)
        coordinates = Coordinates.of(table, rows, indicators)
        model, again = (_model(table, rows, coordinates, epochs=20, seed=0) for _ in range(2))
        assert torch.equal(model.parameters[-1].mean, again.parameters[-1].mean)
        ids = np.arange(60)
        whole = model.drawn(rows, ids, 3, seed=0).completed()
        part = model.drawn(rows.some(ids[5:9]), ids[5:9], 3, seed=0).completed()
        np.testing.assert_allclose(part, whole[:, 5:9], atol=1e-6)


@pytest.mark.parametrize("size", [1e-300, 1e-12, 1e12, 1e160])
def test_numbers_of_any_size_are_filled_in(size: float) -> None:
    noise = np.random.default_rng(0)
    x = noise.normal(2, 1, 60)
    frame = pd.DataFrame({"x": size * x, "y": x + 0.1 * noise.normal(size=60)})
    frame.loc[:9, "x"] = np.nan
    table, rows = _table(frame)
    coordinates = Coordinates.of(table, rows, indicators=False)
    model = _model(table, rows, coordinates, epochs=60, seed=0)
    drawn = model.drawn(rows.some(np.arange(10)), np.arange(10), 20, seed=0).completed()
    assert np.abs(drawn[..., 0].mean(0) / size - x[:10]).max() < 0.5


def test_utilities_of_a_known_category_are_in_order() -> None:
    noise = np.random.default_rng(0)
    frame = pd.DataFrame({"x": noise.normal(size=90), "kind": noise.choice(["a", "b", "c"], 90)})
    table, rows = _table(frame)
    coordinates = Coordinates.of(table, rows, indicators=False)
    state = NormalRows(coordinates, rows, rows.known(table.layout), [0])
    parameters = _given([0.0, 0.1, -0.1], np.eye(3) + 0.3, 1)._replace(shares=[torch.ones(3)])
    noise_of_torch = torch.Generator().manual_seed(0)
    for _ in range(20):
        state.sweep(parameters, noise_of_torch)
    (category,) = coordinates.categories
    decoded = category.decode(state.x[:, category.places].numpy())
    np.testing.assert_array_equal(decoded, rows.numbers[:, 1])


@pytest.mark.slow
def test_correlations_lie_in_their_intervals_with_half_of_the_cells_hidden() -> None:
    """Ten correlations of each of eight normal tables of 100 rows, intervals of 90 %.

    Those of a table depend on each other: taken for three independent ones each, the share has a
    standard error of .06. Without draws of the parameters it would be none.
    """
    inside = []
    for seed in range(8):
        noise = np.random.default_rng(seed)
        loadings = noise.normal(size=(5, 2))
        covariance = loadings @ loadings.T + 0.5 * np.eye(5)
        y = noise.multivariate_normal(np.zeros(5), covariance, size=100)
        y[noise.random(y.shape) < 0.5] = np.nan
        table, rows = _gaussian(y)
        coordinates = Coordinates.of(table, rows, indicators=False)
        model = _model(table, rows, coordinates, EPOCHS, seed=seed)
        drawn = []
        for each in model.parameters:
            root = each.covariance.diagonal().sqrt()
            drawn.append((each.covariance / root / root[:, None]).numpy()[np.triu_indices(5, 1)])
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0, method="weibull")
        spread = np.sqrt(covariance.diagonal())
        true = (covariance / np.outer(spread, spread))[np.triu_indices(5, 1)]
        inside.append((low <= true) & (true <= high))
    assert 0.72 < np.mean(inside) <= 1


def test_draws_of_the_chains_own_rows_are_those_of_the_model() -> None:
    """Means of 40 draws each way: the largest of 150 differences is over 4.5 errors once in a
    thousand times."""
    noise = np.random.default_rng(0)
    y = noise.normal(size=(200, 1)) + 0.7 * noise.normal(size=(200, 3))
    hidden = noise.random(y.shape) < 0.3
    hidden[:, 0] = False
    table, rows = _gaussian(np.where(hidden, np.nan, y))
    coordinates = Coordinates.of(table, rows, indicators=False)
    index = np.flatnonzero(hidden.any(1))[::-1].copy()
    own = NormalRecipe(table, coordinates, EPOCHS, seed=0).draws(rows, index).completed()
    model = _model(table, rows, coordinates, EPOCHS, seed=1)
    drawn = model.drawn(rows.some(index), index, 40, seed=1).completed()
    known, asked = ~hidden[index], hidden[index]
    np.testing.assert_array_equal(own[:, known], np.tile(y[index][known], (40, 1)))
    errors = np.sqrt((own.var(0, ddof=1) + drawn.var(0, ddof=1))[asked] / 40)
    assert np.abs((own.mean(0) - drawn.mean(0))[asked] / errors).max() < 4.5
    # A deviation of forty draws is off by a ninth, a mean of as many as are hidden by a hundredth.
    ratio = (own.std(0)[asked] / drawn.std(0)[asked]).mean()
    assert ratio == pytest.approx(1, abs=4 * (2 / 80 / asked.sum()) ** 0.5 + 1 / 80)


def test_rows_that_are_asked_for_are_among_those_that_fit_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(0)
    y = noise.normal(size=(60, 2))
    y[::3, 1] = np.nan
    table, rows = _gaussian(y)
    coordinates = Coordinates.of(table, rows, indicators=False)
    monkeypatch.setattr("explainaway.tables.joint_normal.MOST_ROWS", 30)
    index, used = np.arange(0, 60, 3), []
    monkeypatch.setattr(
        "explainaway.tables.joint_normal._Sampler",
        lambda rows, seed: used.append(len(rows.x)) or _Sampler(rows, seed),
    )
    draws = NormalRecipe(table, coordinates, 3, seed=0).draws(rows, index)
    _model(table, rows, coordinates, 3, seed=0)
    assert used == [30, 30]
    np.testing.assert_array_equal(draws.completed()[:, :, 0], np.tile(y[index, 0], (40, 1)))


@pytest.mark.parametrize("start_bent", [False, True])
def test_columns_that_are_normal_are_taken_as_they_are(start_bent: bool) -> None:
    """Scores follow the cells that they are made of: they have to pay for their knots."""
    noise = np.random.default_rng(0)
    y = noise.normal(size=(120, 1)) + noise.normal(size=(120, 4))
    table, rows = _table(pd.DataFrame(y, columns=list("abcd")).mask(noise.random(y.shape) < 0.2))
    coordinates = Coordinates.of(table, rows, indicators=False)
    assert all(len(column.maps) == 2 for column in coordinates.numbers)
    model = _model(table, rows, coordinates, 150, seed=0, start_bent=start_bent)
    assert np.mean([parameters.maps for parameters in model.parameters]) < 0.1


def test_shares_of_labels_are_drawn() -> None:
    """Of 90 labels that are known, by the posterior under Jeffreys' prior, from 40 draws."""
    noise = np.random.default_rng(0)
    frame = pd.DataFrame({"x": noise.normal(size=90), "kind": ["a"] * 60 + ["b"] * 20 + ["c"] * 10})
    table, rows = _table(frame, x=Gaussian())
    coordinates = Coordinates.of(table, rows, indicators=True)
    model = _model(table, rows, coordinates, EPOCHS, seed=0)
    shares = np.stack([parameters.shares[0].numpy() for parameters in model.parameters])
    expected = np.array([60.5, 20.5, 10.5]) / 91.5
    deviations = np.sqrt(expected * (1 - expected) / 92.5)
    np.testing.assert_array_less(np.abs(shares.mean(0) - expected), 4 * deviations / 40**0.5)
    np.testing.assert_allclose(shares.std(0), deviations, rtol=4 / 80**0.5)


def test_probabilities_of_levels_are_how_often_they_were_drawn() -> None:
    """Nothing is added for levels that were not: a mean over them would be pulled to the middle."""
    noise = np.random.default_rng(0)
    level = noise.integers(0, 10, 300)
    frame = pd.DataFrame({"x": level + 0.01 * noise.normal(size=300), "level": level.astype(float)})
    frame.loc[:9, "level"] = np.nan
    table, rows = _table(frame)
    coordinates = Coordinates.of(table, rows, indicators=False)
    model = _model(table, rows, coordinates, EPOCHS, seed=0)
    drawn = model.drawn(rows.some(np.arange(10)), np.arange(10), 8, seed=0)
    shares = drawn.probabilities(1)
    np.testing.assert_array_equal(shares * 8, np.round(shares * 8))
    levels = table.models[1].levels
    assert levels is not None
    np.testing.assert_allclose(shares @ levels, level[:10], atol=0.3)


@pytest.mark.parametrize(("number", "narrow"), [(MOST_LEVELS, True), (MOST_LEVELS + 1, False)])
def test_a_column_of_many_labels_has_no_normal_model(number: int, narrow: bool) -> None:
    labels = [f"label {k % number}" for k in range(3 * number)]
    table, rows = _table(pd.DataFrame({"x": np.arange(3.0 * number), "kind": labels}))
    assert is_narrow(Coordinates.of(table, rows, indicators=True)) == narrow


def test_single_draws_of_many_seeds_have_all_parameters() -> None:
    """Each of the 40 by 1,000 seeds some 25 times; one of 40 and five of 200 draws."""
    table, rows = _gaussian(np.random.default_rng(0).normal(size=(30, 2)))
    model = _model(table, rows, _plain(table, rows), epochs=30, seed=0)
    place = {id(each): number for number, each in enumerate(model.parameters)}

    def used(num_draws: int, seed: int) -> list[int]:
        drawn = model.drawn(rows.some(np.arange(2)), np.arange(2), num_draws, seed)
        return [place[id(each)] for each in drawn.parameters]

    single = np.concatenate([used(1, seed) for seed in range(1000)])
    assert scipy.stats.chisquare(np.bincount(single, minlength=40)).pvalue > 0.001
    assert used(40, 3) == list(range(40))
    assert np.bincount(used(200, 4)).tolist() == [5] * 40


@pytest.mark.parametrize("sort", ["dates", "durations", "numbers"])
def test_a_line_ends_at_zero_only_where_the_column_has_one(sort: str) -> None:
    """Dates begin nowhere, durations and numbers at zero, wherever the table begins to count."""
    days = np.random.default_rng(0).integers(10, 40, 200)
    cells = {
        "dates": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, "D"),
        "durations": pd.to_timedelta(days, "D"),
        "numbers": days,
    }
    table, rows = _table(pd.DataFrame({"x": cells[sort]}))
    (column,) = Coordinates.of(table, rows, indicators=False).numbers
    first, last = rows.numbers.min(), rows.numbers.max()
    straight = column.maps[0]
    assert straight.drawn(np.array([50.0])) == pytest.approx(last + (last - first) / 2)
    lowest = first - (last - first) / 2 if sort == "dates" else first - 10
    assert straight.drawn(np.array([-50.0])) == pytest.approx(lowest)
