import numpy as np
import pandas as pd
import pytest

from examples.comparison.limits import biases, half, planted, ros


@pytest.fixture
def normal() -> pd.DataFrame:
    noise = np.random.default_rng(0)
    first = noise.normal(size=4000)
    second = 0.8 * first + 0.6 * noise.normal(size=4000)
    return pd.DataFrame({"a": first, "b": second})


def test_what_is_below_the_planted_limit_is_hidden(normal: pd.DataFrame) -> None:
    given, limits = planted(normal, {"a": 0.4})
    assert given["a"].isna().mean() == pytest.approx(0.4, abs=0.001)
    assert normal["a"][given["a"].isna()].max() <= limits["a"] < given["a"].min()
    assert given["b"].equals(normal["b"])


def test_the_truth_has_no_bias(normal: pd.DataFrame) -> None:
    given, limits = planted(normal, {"a": 0.4})
    assert set(biases(normal, given, limits, [normal, normal]).values()) == {0.0}


def test_order_statistics_give_means_and_spreads_of_normal_columns(normal: pd.DataFrame) -> None:
    """And no correlation: which hidden cell has which value is left to chance."""
    given, limits = planted(normal, {"a": 0.4})
    found = biases(normal, given, limits, ros(given, limits, 1, 0))
    # Mean and spread of 4,000 cells have standard errors of .016 and .011.
    assert found["mean"] < 4 * 0.016
    assert found["spread"] < 4 * 0.011
    assert found["correlation"] > 0.05
    # The line need not pass through the limit.
    assert found["above"] < 0.03


def test_half_the_limit_is_half_of_it(normal: pd.DataFrame) -> None:
    given, limits = planted(normal, {"a": 0.4})
    (filled,) = half(given, limits, 1, 0)
    values = filled["a"][given["a"].isna()]
    np.testing.assert_allclose(10**values, 10 ** limits["a"] / 2)
