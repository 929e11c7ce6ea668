"""Each mistake with factor analysis or a sweep raises one error, or warns, and says what to do."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from explainaway.models import FactorAnalysis
from explainaway.models.factor_analysis import reverse_sweep, sweep

NAN = np.nan
TABLE = np.random.default_rng(0).normal(size=(20, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": 0}, r"n_components must be an integer from 1 to 3 .*got 0"),
        ({"n_components": 4}, r"from 1 to 3 \(at most n_features=3, .*n_samples=20\), got 4"),
        ({"n_components": 1.0}, r"n_components must be an integer .*got 1\.0"),
        ({"n_components": True}, r"n_components must be an integer .*got True"),
        ({"noise": "spherical"}, r'noise must be "diagonal" or "isotropic", got \'spherical\''),
        ({"tol": -1.0}, r"tol must be a number of nats, 0 or more, got -1\.0"),
        ({"tol": NAN}, r"tol must be a number of nats, 0 or more, got nan"),
        ({"max_iter": 0}, r"max_iter must be a positive integer, got 0"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FactorAnalysis(**settings).fit(TABLE)


def test_fewer_rows_than_factors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"from 1 to 1 .*less than n_samples=2\), got 2"):
        FactorAnalysis(2).fit(TABLE[:2])


def test_an_infinite_value_is_named_with_its_place() -> None:
    table = TABLE.copy()
    table[7, 1] = -np.inf
    with pytest.raises(ValueError, match=r"X\[7, 1\] must be finite, or NaN .*got -inf"):
        FactorAnalysis().fit(table)
    fitted = FactorAnalysis().fit(TABLE)
    for call in (fitted.transform, fitted.impute, fitted.score, fitted.posterior):
        with pytest.raises(ValueError, match=r"X\[7, 1\] must be finite"):
            call(table)


def test_a_table_of_nothing_but_missing_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="X must hold at least one observed cell"):
        FactorAnalysis().fit(np.full((5, 3), NAN))


@pytest.mark.parametrize("column", [[2.5] * 20, [NAN] * 19 + [1.0]])
def test_a_column_that_does_not_vary_is_named(column: list[float]) -> None:
    table = TABLE.copy()
    table[:, 1] = column
    with pytest.raises(ValueError, match=r"columns \[1\] of X must vary .*isotropic"):
        FactorAnalysis().fit(table)
    assert np.isfinite(FactorAnalysis(noise="isotropic").fit(table).loglike_).all()
    named = pd.DataFrame(table, columns=["age", "height", "weight"])
    with pytest.raises(ValueError, match=r"columns \['height'\] of X must vary"):
        FactorAnalysis().fit(named)
    with pytest.raises(ValueError, match=r"columns \[0, 1, 2\] of X must vary"):
        FactorAnalysis(noise="isotropic").fit(np.ones((5, 3)))


def test_too_few_iterations_are_told() -> None:
    table = np.where(np.random.default_rng(1).random(TABLE.shape) < 0.3, NAN, TABLE)
    with pytest.warns(ConvergenceWarning, match=r"stopped after max_iter=2 .*raise max_iter"):
        model = FactorAnalysis(max_iter=2, tol=0.0).fit(table)
    assert model.n_iter_ == 2


def test_a_noise_variance_that_vanishes_is_told() -> None:
    table = np.c_[TABLE, TABLE[:, 0]]
    with pytest.warns(UserWarning, match=r"noise variance of columns \[0, 3\] went to zero"):
        model = FactorAnalysis(max_iter=20_000).fit(table)
    assert np.isfinite(model.loglike_).all()


def test_factors_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"X must hold 2 factors a row, got shape \(4, 3\)"):
        FactorAnalysis(2).fit(TABLE).inverse_transform(np.zeros((4, 3)))


def test_nothing_is_answered_before_a_fit() -> None:
    model = FactorAnalysis()
    for call in (model.transform, model.impute, model.score, model.inverse_transform):
        with pytest.raises(NotFittedError):
            call(TABLE)
    for ask in (model.get_covariance, model.to_generator):
        with pytest.raises(NotFittedError):
            ask()


@pytest.mark.parametrize("operation", [sweep, reverse_sweep])
@pytest.mark.parametrize(
    ("shape", "columns", "message"),
    [
        ((2, 3), 0, r"matrix must have shape \(\.\.\., k, k\), got \(2, 3\)"),
        ((3,), 0, r"matrix must have shape \(\.\.\., k, k\), got \(3,\)"),
        ((3, 3), 3, r"columns must be different numbers from 0 to 2, got 3"),
        ((3, 3), -1, r"columns must be different numbers from 0 to 2, got -1"),
        ((3, 3), [0, 0], r"columns must be different numbers from 0 to 2, got \[0, 0\]"),
    ],
)
def test_a_sweep_that_does_not_fit_is_refused(
    operation: Any, shape: tuple[int, ...], columns: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        operation(np.ones(shape), columns)


def test_a_singular_block_is_named() -> None:
    with pytest.raises(np.linalg.LinAlgError, match=r"block of matrix at columns \[0, 1\]"):
        sweep(np.ones((3, 3)), [0, 1])
