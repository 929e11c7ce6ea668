import numpy as np
import pytest
from sklearn.impute import SimpleImputer

from benchmarks.table_coverage import GAPS, SHARE, correlated, covered, with_gaps
from examples.imputing import multiple, regressions, snippets


def test_a_share_of_cells_has_the_error_of_rows_that_agree() -> None:
    """Where the cells of a row are all alike, they count as one."""
    noise = np.random.default_rng(0)
    inside = np.repeat(noise.random((400, 1)) < 0.8, 5, 1)
    found = covered(inside, np.ones_like(inside))
    assert found.share == inside.mean()
    assert found.error == pytest.approx(np.sqrt(found.share * (1 - found.share) / 400))
    hidden = np.zeros_like(inside)
    hidden[:100, 2] = True
    assert covered(inside, hidden).share == inside[:100, 2].mean()


@pytest.mark.parametrize("gaps", GAPS)
def test_gaps_are_where_they_are_said_to_be(gaps: str) -> None:
    truth = correlated(0, 1000)
    given, hidden, limits = with_gaps(gaps, truth, 0)
    # At random: four standard errors of a binomial share.
    assert hidden.mean() == pytest.approx(SHARE, abs=4 * np.sqrt(SHARE * (1 - SHARE) / 1000))
    assert given[~hidden].equals(truth[~hidden])
    y, rest = truth["y"][hidden], truth["y"][~hidden]
    if gaps.startswith("limit told"):
        limit = limits["y"][0]
        assert (given["y"][hidden] == limit).all()
        assert y.max() < limit <= rest.min()
        return
    assert given["y"][hidden].isna().all()
    assert (y.min() > rest.max()) == (gaps == "where y is large")
    assert (y.max() < rest.min()) == (gaps == "below a limit")
    is_beyond = truth["x1"][hidden].min() > truth["x1"][~hidden].max()
    assert is_beyond == gaps.startswith("where x1 is large")


def test_a_complete_table_is_pooled_to_its_own_regression() -> None:
    table = multiple.standardised()
    found = multiple.pooled(lambda given: [given] * 5, table, 0.0, seed=0)
    assert found["error"] == pytest.approx(0, abs=1e-9)
    assert found["claimed"] == pytest.approx(1)
    assert found["covered"] == 1
    x = table.drop(columns="y").to_numpy()
    # Centred columns: the intercept is zero.
    expected = np.linalg.lstsq(x, table["y"].to_numpy(), rcond=None)[0]
    np.testing.assert_allclose(found["estimate"], expected, rtol=1e-6)


@pytest.mark.parametrize("example", [regressions.MISSING_VALUES, regressions.VARIANTS])
def test_rows_lose_one_cell(example: regressions.Regression) -> None:
    table, given, target = regressions.data(example, 0)
    missing = np.isnan(given).sum(1)
    assert missing.max() == 1
    assert missing.sum() == int(example.with_gaps * len(target))
    np.testing.assert_array_equal(given[~np.isnan(given)], table[~np.isnan(given)])


def test_mean_imputation_errs_by_a_variance() -> None:
    """Of hidden cells, in variances of their columns."""
    found = regressions.scored(regressions.VARIANTS, 0, SimpleImputer)
    assert len(found["folds"]) == regressions.VARIANTS.folds
    cells = np.asarray(found["cells"])
    assert cells.mean() == pytest.approx(1, abs=4 * cells.std() / np.sqrt(len(cells)))
    error = snippets.many_rows(SimpleImputer, 0)["error"]
    # 80 uniform cells: the squared error is 1 with a standard deviation of .9.
    assert error**2 == pytest.approx(1, abs=4 * 0.9 / np.sqrt(80))
