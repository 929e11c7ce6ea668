"""Measures of generated examples, where what they should be is known."""

import numpy as np
import pytest

from explainaway.sample_quality import sample_quality


def test_the_same_distribution_is_near() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(2, 1000, 3))
    found = sample_quality(real, made)
    # Under the same distribution the discrepancy is zero on average; with kernel values in [0, 1]
    # and 1,000 examples its deviation is below .001 (Gretton et al., theorem 10, far looser).
    assert abs(found.mmd) < 3e-3
    # Expected density is 1; expected coverage 1 - (m choose k) / (2m choose k), about 1 - 2^-k.
    assert found.density == pytest.approx(1, abs=0.1)
    assert found.coverage == pytest.approx(1 - 2.0**-5, abs=0.03)
    assert found.precision > 0.9
    assert found.recall > 0.9


def test_what_is_far_off_is_seen() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(2, 300, 3))
    found = sample_quality(real, made + 100)
    assert found[1:] == (0, 0, 0, 0)
    # Nothing is near across: what is left are the means of each kernel, the second as the first.
    width = (
        2 * np.median(np.linalg.norm(real[:, None] - real, axis=2)[np.triu_indices(300, 1)]) ** 2
    )
    inner = sum(
        (np.exp(-np.square(x[:, None] - x).sum(2) / width).sum() - 300) / (300 * 299)
        for x in (real, made)
    )
    assert found.mmd == pytest.approx(inner)


def test_one_mode_has_precision_without_recall() -> None:
    """Half of the real ones lie at each of two places, all that was generated at the first."""
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(2, 400, 2))
    real[200:] += 50
    found = sample_quality(real, made)
    assert found.precision > 0.9
    assert found.recall < 0.51
    assert 0.4 < found.coverage < 0.51
    # Each generated one lies in as many neighbourhoods as before: 400 near the half of the real.
    assert found.density == pytest.approx(1, abs=0.15)


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(ValueError, match=r"same features, got shapes \(9, 2\) and \(9, 3\)"):
        sample_quality(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(ValueError, match="number of examples less one, 8, got 9"):
        sample_quality(np.zeros((9, 2)), np.zeros((9, 2)), 9)
