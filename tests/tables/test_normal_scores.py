from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from explainaway.tables.limited_scores import limited_scores
from explainaway.tables.normal_scores import NormalScores


def _skewed(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).gamma(2.0, 3.0, n)


def test_scores_are_standard_and_keep_the_order() -> None:
    y = _skewed()
    s = NormalScores.of(y).to_scores(y)
    np.testing.assert_allclose([s.mean(), s.std()], [0, 1], atol=1e-9)
    np.testing.assert_array_equal(np.argsort(s), np.argsort(y))


def test_values_come_back_from_their_scores() -> None:
    y = _skewed()
    scores = NormalScores.of(y)
    np.testing.assert_allclose(scores.to_values(scores.to_scores(y)), y, rtol=1e-10)


def test_equal_values_have_one_score_between_those_of_their_neighbours() -> None:
    y = np.array([1.0, 2.0, 2.0, 2.0, 3.0])
    s = NormalScores.of(y).to_scores(y)
    assert s[0] < s[1] == s[2] == s[3] < s[4]
    assert s[1] == pytest.approx(0.0)


def test_drawn_values_stay_within_the_range_of_the_observed_ones() -> None:
    y = _skewed()
    values = NormalScores.of(y).to_values(np.array([-9.0, 9.0]))
    np.testing.assert_allclose(values, [y.min(), y.max()])


def test_the_density_of_a_column_integrates_to_one() -> None:
    """It is that of the scores times the map's slope, beyond the observed values too."""
    scores = NormalScores.of(_skewed())

    def density(y: float) -> float:
        at = np.array([y])
        return float(np.exp(norm.logpdf(scores.to_scores(at)) + scores.log_slope(at))[0])

    # Beyond the ends the map is linear; scores are cut six deviations from the mean.
    slopes = np.diff(scores.values) / np.diff(scores.scores)
    low = scores.values[0] - slopes[0] * (5.99 + scores.scores[0])
    high = scores.values[-1] + slopes[-1] * (5.99 - scores.scores[-1])
    ends = [low, *scores.values, high]
    total = sum(quad(density, a, b)[0] for a, b in pairwise(ends))
    assert total == pytest.approx(1, abs=1e-6)


def test_a_limit_leaves_the_scores_of_what_lies_beyond_to_the_censored_cells() -> None:
    """Half the cells lie below the limit: the exact ones have the upper half of the quantiles."""
    y = np.exp(np.random.default_rng(1).normal(size=400))
    limit = np.median(y)
    below = np.where(y <= limit, limit, np.nan)
    scores = limited_scores(np.where(y <= limit, limit, y), below, np.full_like(y, np.nan))
    # Between knots the map is linear: it is exact there.
    knots = np.exp(scores.values[1:-1])
    ranks = (y[:, None] < knots * (1 + 1e-9)).sum(0)
    np.testing.assert_allclose(scores.scores[1:-1], norm.ppf((ranks - 0.5) / len(y)), atol=1e-3)
    # What was drawn is log-normal: its scores go on in logarithms.
    lowest = float(scores.to_values(np.array([-2.0]))[0])
    assert np.log(lowest) == pytest.approx(-2.0, abs=0.2)


def test_several_limits_share_their_cells_among_the_values_below() -> None:
    """Two cells below 2.5: each of the values 1 and 2 counts twice; by hand, (Turnbull 1976)."""
    numbers = np.array([1.0, 2.0, 3.0, 4.0, 2.5, 2.5])
    below = np.array([np.nan] * 4 + [2.5, 2.5])
    scores = limited_scores(numbers, below, np.full(6, np.nan))
    s = scores.to_scores(np.array([1.0, 4.0]))
    # The mass below: values below all exact ones are as likely at the start and lose nothing.
    assert s[0] < norm.ppf(3 / 6) < s[1]
    assert s[1] == pytest.approx(norm.ppf(5.5 / 6), abs=1e-6)
