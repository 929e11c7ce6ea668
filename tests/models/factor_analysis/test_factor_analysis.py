"""Factor analysis: cases with known answers, dense algebra, and other people's optima."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.decomposition import FactorAnalysis as CompleteFactorAnalysis
from sklearn.utils.estimator_checks import parametrize_with_checks

from explainaway.models import FactorAnalysis
from explainaway.models.factor_analysis import sweep
from explainaway.models.factor_analysis.em import expect, maximise, starting_model
from explainaway.models.factor_analysis.incomplete_table import IncompleteTable, rows_by_pattern
from explainaway.models.factor_analysis.linear_gaussian import LinearGaussian, posterior

Array = NDArray[np.float64]
NAN = np.nan


@parametrize_with_checks([FactorAnalysis(), FactorAnalysis(2, noise="isotropic")])
def test_it_is_a_scikit_learn_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


def _known(loadings: Any, noise: Any = 1.0, mean: Any = 0.0) -> FactorAnalysis:
    """Return a model with given parameters, loadings (D, d)."""
    loadings = np.asarray(loadings, dtype=float)
    columns, d = loadings.shape
    model = FactorAnalysis(d)
    model.components_ = loadings.T
    model.mean_ = np.full(columns, mean, dtype=float)
    model.noise_variance_ = np.broadcast_to(np.asarray(noise, dtype=float), (columns,)).copy()
    model.n_features_in_ = columns
    return model


def _table(n: int, columns: int, d: int, missing: float, seed: int = 0) -> Array:
    """Return data in which every factor is well determined, so that EM does not crawl."""
    rng = np.random.default_rng(seed)
    loadings = rng.choice([-1.0, 1.0], (columns, d)) * rng.uniform(0.6, 1.4, (columns, d))
    noise = rng.uniform(0.5, 1.0, columns)
    table = rng.normal(size=(n, d)) @ loadings.T + noise * rng.normal(size=(n, columns))
    table += 3 * rng.normal(size=columns)
    table[rng.random(table.shape) < missing] = NAN
    return np.asarray(table)


def test_missing_is_not_zero() -> None:
    """Case 12 (dselivanov/rsparse#35): as zero it would be 1 and 1/3."""
    found = _known([[1.0], [1.0]]).posterior([[3.0, NAN]])
    assert found.mean[0, 0] == pytest.approx(1.5)
    assert found.covariance[0, 0, 0] == pytest.approx(0.5)


def test_a_row_without_any_observed_cell_is_as_the_prior_says() -> None:
    """Case 13 (scikit-learn/scikit-learn#16977)."""
    model = _known([[2.0]])
    found = model.posterior([[NAN], [1.0]])
    assert (found.mean[0, 0], found.covariance[0, 0, 0]) == (0.0, 1.0)
    filled, variance = model.impute([[NAN], [1.0]], return_variance=True)
    assert (filled[0, 0], variance[0, 0]) == (0.0, 5.0)
    assert model.score_samples([[NAN], [1.0]])[0] == 0


def test_a_new_row_is_predicted_with_its_own_noise() -> None:
    """Case 15 (iskandr/fancyimpute#121): .4 would be the variance of the mean alone."""
    filled, variance = _known([[2.0], [3.0]]).impute([[NAN, 1.0]], return_variance=True)
    np.testing.assert_allclose(filled, [[0.6, 1.0]])
    np.testing.assert_allclose(variance, [[1.4, 0.0]])


def test_a_column_that_is_never_observed_keeps_its_place_and_is_named() -> None:
    """Case 13 (scikit-learn/scikit-learn#16977)."""
    table = _table(50, 4, 1, missing=0.2)
    table[:, 2] = NAN
    model = FactorAnalysis()
    with pytest.warns(UserWarning, match=r"columns \[2\] of X are observed in no row"):
        model.fit(table)
    filled = model.impute(table)
    assert filled.shape == table.shape
    assert (filled[:, 2] == 0).all()
    assert np.isfinite(filled).all()
    without = FactorAnalysis().fit(np.delete(table, 2, axis=1))
    assert model.loglike_[-1] == pytest.approx(without.loglike_[-1], rel=1e-5)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_posterior_density_and_imputation_are_those_of_the_dense_normal(missing: float) -> None:
    model = _known(
        np.random.default_rng(1).normal(size=(5, 2)), noise=[0.5, 1.0, 2.0, 0.1, 0.3], mean=1.0
    )
    table = _table(30, 5, 2, missing)
    table[0] = NAN
    loadings, covariance = model.components_.T, model.get_covariance()
    found = model.posterior(table)
    filled, variance = model.impute(table, return_variance=True)
    densities = model.score_samples(table)
    assert model.score(table) == pytest.approx(densities.mean())
    for i, row in enumerate(table):
        seen, hidden = ~np.isnan(row), np.isnan(row)
        known = covariance[np.ix_(seen, seen)]
        residual = row[seen] - model.mean_[seen]
        gain = np.linalg.solve(known, loadings[seen]).T
        np.testing.assert_allclose(found.mean[i], gain @ residual, atol=1e-10)
        np.testing.assert_allclose(
            found.covariance[i], np.eye(2) - gain @ loadings[seen], atol=1e-10
        )
        across = np.linalg.solve(known, covariance[np.ix_(seen, hidden)]).T
        np.testing.assert_allclose(
            filled[i, hidden], model.mean_[hidden] + across @ residual, atol=1e-10
        )
        left = covariance[np.ix_(hidden, hidden)] - across @ covariance[np.ix_(seen, hidden)]
        np.testing.assert_allclose(variance[i, hidden], np.diag(left), atol=1e-10)
        assert np.array_equal(filled[i, seen], row[seen])
        assert (variance[i, seen] == 0).all()
        if seen.any():
            expected = multivariate_normal(model.mean_[seen], known).logpdf(row[seen])
            assert densities[i] == pytest.approx(expected, abs=1e-9)


def test_a_row_does_not_depend_on_its_batch_mates() -> None:
    table = _table(150, 8, 2, missing=0.3)
    model = FactorAnalysis(2).fit(table)
    order = np.random.default_rng(0).permutation(150)
    for call in (model.transform, model.impute, model.score_samples):
        whole = np.asarray(call(table))
        np.testing.assert_allclose(np.asarray(call(table[order])), whole[order], atol=1e-12)
        np.testing.assert_allclose(np.asarray(call(table[3:4])), whole[3:4], atol=1e-12)


def test_fit_transform_is_fit_and_then_transform() -> None:
    table = _table(150, 8, 2, missing=0.3)
    np.testing.assert_array_equal(
        FactorAnalysis(2).fit_transform(table), FactorAnalysis(2).fit(table).transform(table)
    )


def _by_the_book(model: LinearGaussian, table: Array) -> LinearGaussian:
    """Rubin & Thayer's iteration as written: a sweep on YY, a sweep on ZZ; no cell missing."""
    n, columns = table.shape
    d = model.loadings.shape[1]
    z, y = range(d), range(d, d + columns)
    signal = model.loadings @ model.loadings.T
    joint = np.block(
        [[np.eye(d), model.loadings.T], [model.loadings, signal + np.diag(model.noise_variance)]]
    )
    swept = sweep(joint, y)
    regression, covariance = swept[:d, d:], swept[:d, :d]
    observed = (table - table.mean(0)).T @ (table - table.mean(0)) / n
    zz, zy = regression @ observed @ regression.T + covariance, regression @ observed
    swept = sweep(np.block([[zz, zy], [zy.T, observed]]), z)
    return LinearGaussian(np.zeros(columns), swept[:d, d:].T, swept.diagonal()[d:])


def _centred(values: Array) -> tuple[IncompleteTable, LinearGaussian]:
    """Return a table and a model to begin with, its mean that of the columns."""
    rng, columns = np.random.default_rng(2), values.shape[1]
    start = LinearGaussian(np.zeros(columns), rng.normal(size=(columns, 2)), np.ones(columns))
    return IncompleteTable(values), start


def test_an_iteration_is_rubin_and_thayers() -> None:
    values = _table(50, 6, 2, missing=0)
    table, model = _centred(values)
    for _ in range(3):
        by_the_book = _by_the_book(model, values)
        model = maximise(expect(model, table)[0], table, isotropic=False)
        np.testing.assert_allclose(model.loadings, by_the_book.loadings, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(model.noise_variance, by_the_book.noise_variance, rtol=1e-9)
        np.testing.assert_allclose(model.mean, 0, atol=1e-12)


def test_leaps_save_most_of_the_iterations() -> None:
    values = _table(200, 8, 2, missing=0)
    fitted = FactorAnalysis(2, tol=1e-8).fit(values)
    table = IncompleteTable(values)
    model = starting_model(table, 2, isotropic=False)
    for _ in range(2 * fitted.n_iter_):
        model = maximise(expect(model, table)[0], table, isotropic=False)
    assert expect(model, table)[1] < fitted.loglike_[-1]


@pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7])
def test_the_likelihood_never_falls_and_ends_where_scored(noise: Any, missing: float) -> None:
    table = _table(120, 7, 2, missing)
    model = FactorAnalysis(2, noise=noise).fit(table)
    assert model.loglike_[-1] > model.loglike_[0] or (missing == 0 and noise == "isotropic")
    assert (np.diff(model.loglike_) > -1e-12 * abs(model.loglike_[-1])).all()
    assert len(model.loglike_) == model.n_iter_ + 1
    assert model.score(table) * len(table) == pytest.approx(model.loglike_[-1], rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 10])
def test_complete_data_give_the_optimum_of_scikit_learn(d: int) -> None:
    """Within 1e-6 relative, on the digits without the pixels that are nearly always 0."""
    digits = load_digits().data
    digits = digits[:, (digits > 0).mean(0) > 0.02]
    ours = FactorAnalysis(d, tol=1e-7).fit(digits)
    theirs = CompleteFactorAnalysis(d, tol=1e-8, max_iter=3000, svd_method="lapack").fit(digits)
    assert ours.score(digits) == pytest.approx(theirs.score(digits), rel=1e-6)
    np.testing.assert_allclose(ours.score_samples(digits), theirs.score_samples(digits), rtol=0.01)


def test_isotropic_noise_gives_the_closed_form_of_probabilistic_pca() -> None:
    """Tipping & Bishop (1999), eq. 7 and 8; reached from a start far away."""
    values = _table(200, 6, 2, missing=0)
    eigenvalues, axes = np.linalg.eigh(np.cov(values.T, bias=True))
    noise = eigenvalues[:-2].mean()
    best = (axes[:, -2:] * (eigenvalues[-2:] - noise)) @ axes[:, -2:].T + noise * np.eye(6)
    table = IncompleteTable(values)
    model = LinearGaussian(
        np.ones(6), np.random.default_rng(0).normal(size=(6, 2)), np.full(6, 9.0)
    )
    for _ in range(300):
        model = maximise(expect(model, table)[0], table, isotropic=True)
    np.testing.assert_allclose(model.noise_variance, noise, rtol=1e-8)
    np.testing.assert_allclose(model.mean, 0, atol=1e-8)
    reached = model.loadings @ model.loadings.T + np.diag(model.noise_variance)
    np.testing.assert_allclose(reached, best, rtol=1e-6, atol=1e-8)
    fitted = FactorAnalysis(2, noise="isotropic").fit(values)
    np.testing.assert_allclose(fitted.get_covariance(), best, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(fitted.mean_, values.mean(0), rtol=1e-12)


@pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
def test_with_missing_cells_it_is_the_optimum_that_a_general_optimiser_finds(noise: Any) -> None:
    table = _table(100, 4, 1, missing=0.2)
    fitted = FactorAnalysis(1, noise=noise, tol=1e-10).fit(table)
    blocks = rows_by_pattern(table)

    def loss(parameters: Array) -> float:
        mean, loadings, log_noise = parameters.reshape(3, 4)
        log_noise = log_noise if noise == "diagonal" else np.full(4, log_noise.mean())
        model = LinearGaussian(mean, loadings[:, None], np.exp(log_noise))
        return -sum(posterior(model, block).log_likelihood.sum() for block in blocks) / len(table)

    start = np.concatenate([np.nanmean(table, 0), np.ones(4), np.zeros(4)])
    found = minimize(loss, start, method="BFGS", options={"gtol": 1e-6})
    assert fitted.score(table) == pytest.approx(-found.fun, abs=1e-7)


def test_the_unit_and_the_origin_of_a_column_do_not_matter() -> None:
    table = _table(150, 7, 1, missing=0.3)
    unit = np.array([1.0, 1e-3, 1e3, 5.0, 0.1, 1.0, 20.0])
    origin = np.array([0.0, 1.0, 1e6, -50.0, 10.0, 2.0, 3.0])
    one = FactorAnalysis(tol=1e-9).fit(table)
    other = FactorAnalysis(tol=1e-9).fit(table * unit + origin)
    shift = ((~np.isnan(table)).sum(0) * np.log(unit)).sum()
    np.testing.assert_allclose(other.loglike_ + shift, one.loglike_, rtol=1e-6)
    np.testing.assert_allclose(other.components_, one.components_ * unit, rtol=1e-5)


def test_a_smaller_tol_gains_more() -> None:
    """In a case that is not Heywood's what is left is about tol."""
    table = _table(200, 8, 2, missing=0.5, seed=1)
    best = FactorAnalysis(2, tol=1e-10).fit(table).score(table)
    for tol in (1e-2, 1e-4, 1e-6):
        assert abs(best - FactorAnalysis(2, tol=tol).fit(table).score(table)) < 5 * tol


def test_many_patterns_and_many_columns_are_worked_through_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for missing in (0.0, 0.3):
        table = _table(150, 8, 2, missing)
        whole = FactorAnalysis(2).fit(table)
        monkeypatch.setattr(
            "explainaway.models.factor_analysis.incomplete_table.PATTERNS_AT_ONCE", 8
        )
        monkeypatch.setattr(
            "explainaway.models.factor_analysis.incomplete_table.COLUMNS_AT_ONCE", 3
        )
        np.testing.assert_allclose(FactorAnalysis(2).fit(table).loglike_, whole.loglike_, rtol=1e-9)
        monkeypatch.undo()


def test_factors_are_in_a_form_of_their_own() -> None:
    model = FactorAnalysis(3).fit(_table(200, 10, 3, missing=0.2))
    information = (model.components_ / model.noise_variance_) @ model.components_.T
    np.testing.assert_allclose(information, np.diag(np.diag(information)), atol=1e-8)
    assert (np.diff(np.diag(information)) < 0).all()
    relative = model.components_ / np.sqrt(model.noise_variance_)
    assert (relative.max(1) == np.abs(relative).max(1)).all()


def test_the_generator_is_the_same_model() -> None:
    """log p(y) = log p(y, z) - log p(z | y), whatever z is."""
    table = _table(60, 6, 2, missing=0.3)
    model = FactorAnalysis(2).fit(table)
    generator = model.to_generator().double()
    z = torch.randn(60, 2, dtype=torch.float64)
    found = model.posterior(table)
    exact = torch.distributions.MultivariateNormal(
        torch.from_numpy(found.mean), torch.from_numpy(found.covariance)
    )
    evidence = generator.log_joint(torch.from_numpy(table), z) - exact.log_prob(z)
    # Its weights went through the default float32.
    np.testing.assert_allclose(evidence.detach().numpy(), model.score_samples(table), rtol=1e-5)
    np.testing.assert_allclose(
        generator.decode(z).detach().numpy(), model.inverse_transform(z.numpy()), rtol=1e-5
    )
