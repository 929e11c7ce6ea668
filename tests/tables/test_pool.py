from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from explainaway.tables import pool

# mice 3.15.0 in R 4.2.2: fit <- with(mice(nhanes, seed = 1, m = 5), lm(bmi ~ age + chl)), the
# coefficients of the five fits and the roots of the diagonals of vcov.
NAMES = ["(Intercept)", "age", "chl"]
ESTIMATES = [
    [19.536705231139297, -2.4232634702637852, 0.056777249218081111],
    [20.357210105279506, -3.4661029046626908, 0.063223345285632393],
    [22.785241590929957, -4.8027987723376562, 0.065566743453378901],
    [20.785233201421725, -3.0629982650636753, 0.056659144349177092],
    [22.023836613919407, -2.0809677959759756, 0.040351937875268522],
]
STANDARD_ERRORS = [
    [3.5095727281115146, 0.82287234402467047, 0.019019036430191351],
    [2.4101399506563554, 0.62187837196468576, 0.011862402579383874],
    [3.2959667300734377, 0.96615346934043767, 0.019037675285212552],
    [3.0203265941349500, 0.85522929051946450, 0.016922571970444462],
    [3.5481243447737594, 0.85279792118875175, 0.018528703056116130],
]
# summary(pool(fit), conf.int = TRUE), and pool(fit)$pooled.
MICE = {
    "estimate": [21.0976453485380, -3.1672262416608, 0.0565156840363],
    "standard_error": [3.4895019052172, 1.4296205747721, 0.0203811914556],
    "statistic": [6.04603348031, -2.21543135119, 2.77293327819],
    "dof": [15.07791799105, 3.91249862334, 11.32273037308],
    "p_value": [0.000021897583145, 0.092585336484327, 0.017696395261946],
    "lower": [13.663294335199, -7.171745070449, 0.011812489309],
    "upper": [28.531996361877, 0.837292587128, 0.101218878764],
    "within": [10.1401662205, 0.691197112829, 0.000298911940198],
    "between": [1.69704777166, 1.12718156249, 0.0000970675207928],
    "relative_increase": [0.200830763688, 1.956920609011, 0.389683412694],
    "missing_information": [0.259372912508, 0.759659079797, 0.380893653709],
}


def test_numbers_are_those_of_mice() -> None:
    table = pool(ESTIMATES, STANDARD_ERRORS, complete_dof=22)
    assert list(table.columns) == [
        *("estimate", "standard_error", "dof", "lower", "upper", "statistic", "p_value"),
        *("within", "between", "relative_increase", "missing_information"),
    ]
    for name, values in MICE.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-9, err_msg=name)


def test_numbers_of_a_large_sample_are_those_of_mice() -> None:
    """pool.scalar(estimates, errors^2, n = Inf) of the third coefficient."""
    column = [row[2] for row in ESTIMATES], [row[2] for row in STANDARD_ERRORS]
    (row,) = pool(*column).itertuples(index=False)
    assert row.dof == pytest.approx(50.8707217009, rel=1e-9)
    assert row.missing_information == pytest.approx(0.307127023940, rel=1e-9)


def test_fitted_models_bring_names_and_degrees_of_freedom() -> None:
    models = [
        SimpleNamespace(params=pd.Series(p, NAMES), bse=pd.Series(e, NAMES), df_resid=22.0)
        for p, e in zip(ESTIMATES, STANDARD_ERRORS, strict=True)
    ]
    table = pool(models)
    assert list(table.index) == NAMES
    np.testing.assert_allclose(table["dof"], MICE["dof"], rtol=1e-9)
    other = SimpleNamespace(params=models[0].params[::-1], bse=models[0].bse, df_resid=22.0)
    with pytest.raises(ValueError, match="different quantities"):
        pool([*models, other])


def test_without_missing_cells_it_is_the_analysis_itself() -> None:
    row = pool([2.0, 2.0], [0.5, 0.5]).iloc[0]
    assert row["standard_error"] == 0.5
    assert np.isinf(row["dof"])
    assert row["upper"] == pytest.approx(2 + 1.959964 * 0.5, rel=1e-6)
    # Barnard & Rubin (1999): (d + 1) / (d + 3) d, where nothing is missing.
    assert pool([2.0, 2.0], [0.5, 0.5], complete_dof=10)["dof"][0] == pytest.approx(11 / 13 * 10)


def test_intervals_of_a_mean_cover_it() -> None:
    """Proper imputations of a normal sample of which half is hidden.

    2,000 samples: the coverage of 95 % intervals has a standard error of .0049; within four, and
    .01 for what Rubin's rules approximate.
    """
    noise = np.random.default_rng(0)
    samples, seen, hidden, m = 2000, 15, 15, 20
    observed = noise.normal(size=(samples, 1, seen))
    mean, variance = observed.mean(-1), observed.var(-1, ddof=1)
    drawn = (seen - 1) * variance / noise.chisquare(seen - 1, (samples, m))
    centre = mean + np.sqrt(drawn / seen) * noise.normal(size=(samples, m))
    filled = centre[..., None] + np.sqrt(drawn)[..., None] * noise.normal(size=(samples, m, hidden))
    whole = np.concatenate([np.broadcast_to(observed, (samples, m, seen)), filled], -1)
    errors = whole.std(-1, ddof=1) / np.sqrt(seen + hidden)
    table = pool(whole.mean(-1).T, errors.T, complete_dof=seen + hidden - 1)
    covered = (table["lower"] < 0) & (table["upper"] > 0)
    assert covered.mean() == pytest.approx(0.95, abs=4 * 0.0049 + 0.01)
    # Half of the cells are missing.
    assert table["missing_information"].mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("estimates", "errors", "more", "message"),
    [
        ([1.0], [0.1], {}, "at least two tables"),
        ([1.0, 2.0], [0.1], {}, r"standard_errors: of shape \(1,\)"),
        ([1.0, 2.0], [0.1, -0.1], {}, "standard_errors: one is negative"),
        ([1.0, np.nan], [0.1, 0.1], {}, "an estimate is NaN"),
        ([1.0, 2.0], [0.1, 0.1], {"level": 95}, "level: 95"),
        ([1.0, 2.0], [0.1, 0.1], {"complete_dof": 0}, "complete_dof: 0"),
    ],
)
def test_what_cannot_be_pooled_is_named(
    estimates: list[float], errors: list[float], more: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pool(estimates, errors, **more)


def test_numbers_without_standard_errors_are_refused() -> None:
    with pytest.raises(TypeError, match="float without standard_errors"):
        pool([1.0, 2.0])
