import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from explainaway.projected_factors import (
    Factors,
    Projected,
    conditional_mean,
    fit_factors,
    latent_moments,
    whitened,
)
from explainaway.sparse_recovery import lasso

CELLS = 12


@pytest.fixture
def truth() -> Factors:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(CELLS, generator=generator)
    loadings = torch.randn(CELLS, 2, generator=generator)
    variance = 0.05 + 0.3 * torch.rand(CELLS, generator=generator)
    return Factors(mean, loadings, variance)


def signals(factors: Factors, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, factors.loadings.shape[1], generator=generator)
    noise = torch.randn(count, CELLS, generator=generator) * factors.variance.sqrt()
    return factors.mean + z @ factors.loadings.mT + noise


def projections(x: Tensor, count: int, matrices: int, seed: int) -> list[Projected]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for some in x.chunk(matrices):
        matrix = torch.randn(count, CELLS, generator=generator)
        made.append(Projected(matrix, some @ matrix.mT))
    return made


def test_whitened_noise_is_white(truth: Factors) -> None:
    data = projections(signals(truth, 20, 1), 5, 1, 2)[0]
    white = whitened(data, truth.variance)
    torch.testing.assert_close(white.matrix @ white.matrix.mT, torch.eye(5), rtol=0, atol=1e-3)
    # The likelihood under noise of the signals: the same squares as in the units of the data.
    left = data.y - truth.mean @ data.matrix.mT
    covariance = data.matrix * truth.variance @ data.matrix.mT
    expected = (left @ covariance.inverse() * left).sum(1)
    mean = truth.mean / truth.variance.sqrt()
    squares = (white.y - mean @ white.matrix.mT).square().sum(1)
    torch.testing.assert_close(squares, expected, rtol=2e-3, atol=1e-3)


def test_conditional_mean_is_that_of_the_normal_distribution(truth: Factors) -> None:
    data = projections(signals(truth, 20, 1), 5, 1, 2)[0]
    covariance = truth.loadings @ truth.loadings.mT + truth.variance.diag()
    crossed = covariance @ data.matrix.mT
    gain = crossed @ (data.matrix @ crossed).inverse()
    expected = truth.mean + (data.y - truth.mean @ data.matrix.mT) @ gain.mT
    found = conditional_mean(whitened(data, truth.variance), truth)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-3)
    # Noiseless projections are explained whole.
    torch.testing.assert_close(found @ data.matrix.mT, data.y, rtol=1e-3, atol=2e-3)


def test_latents_have_their_posterior(truth: Factors) -> None:
    data = projections(signals(truth, 20, 1), 5, 1, 2)[0]
    deviation = truth.variance.sqrt()
    found = latent_moments(
        whitened(data, truth.variance), truth.mean / deviation, truth.loadings / deviation[:, None]
    )
    seen = data.matrix @ truth.loadings
    total = seen @ seen.mT + data.matrix * truth.variance @ data.matrix.mT
    gain = seen.mT @ total.inverse()
    expected = (data.y - truth.mean @ data.matrix.mT) @ gain.mT
    torch.testing.assert_close(found.latents, expected, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(found.covariance, torch.eye(2) - gain @ seen, rtol=2e-3, atol=2e-3)


def test_of_complete_signals_the_fit_is_probabilistic_pca(truth: Factors) -> None:
    """Tipping & Bishop (1999), eq. 7 and 8: the maximum of the likelihood in closed form."""
    x = signals(truth, 400, 3)
    start = Factors(torch.zeros(CELLS), 0.1 * torch.eye(CELLS)[:, :2], torch.ones(CELLS))
    found = fit_factors(
        [Projected(torch.eye(CELLS), x)],
        start,
        60,
        pooled=lambda cells: cells.mean().expand_as(cells),
    )
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.mT @ centred / len(x))
    noise = values[:-2].mean()
    expected = vectors[:, -2:] * (values[-2:] - noise) @ vectors[:, -2:].mT
    torch.testing.assert_close(found.mean, x.mean(0), rtol=0, atol=2e-3)
    torch.testing.assert_close(found.variance, noise.expand(CELLS), rtol=1e-2, atol=0)
    torch.testing.assert_close(found.loadings @ found.loadings.mT, expected, rtol=0, atol=2e-2)


def test_factors_are_learned_from_projections(truth: Factors) -> None:
    """Of 5 projections of 12 cells, by ten matrices; the bound is what true factors leave."""
    data = projections(signals(truth, 2000, 4), 5, 10, 5)
    start = Factors(torch.zeros(CELLS), 0.5 * torch.eye(CELLS)[:, :2], torch.ones(CELLS))
    found = fit_factors(data, start, 100, penalty=1.0, mean_penalty=0.1)
    new = signals(truth, 500, 6)
    given = Projected(data[0].matrix, new @ data[0].matrix.mT)
    errors = [
        float((conditional_mean(whitened(given, each.variance), each) - new).square().mean())
        for each in (truth, found, start)
    ]
    # 12 · 4 numbers from 10,000 projections cost about half a per cent of the variance, as they
    # are estimated; five times that.
    assert errors[1] < 1.03 * errors[0]
    assert errors[2] > 1.5 * errors[0]


def test_a_symmetry_is_kept(truth: Factors) -> None:
    signs = torch.ones(CELLS)
    signs[::2] = -1
    data = projections(signals(truth, 200, 4), 5, 4, 5)
    start = Factors(torch.zeros(CELLS), torch.zeros(CELLS, 0), torch.ones(CELLS))
    found = fit_factors(data, start, 3, mean_penalty=0.1, signs=signs, num_solves=30)
    mirrored = fit_factors(
        [Projected(each.matrix * signs, each.y) for each in data],
        start, 3, mean_penalty=0.1, signs=signs, num_solves=30,
    )  # fmt: skip
    torch.testing.assert_close(found.mean, mirrored.mean, rtol=0, atol=1e-3)
    # What changes its sign in the mirror has the mean zero.
    torch.testing.assert_close(found.mean[::2], torch.zeros(CELLS // 2), rtol=0, atol=1e-3)
    assert float(found.mean[1::2].abs().max()) > 0.1


def test_lasso_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix, y = torch.randn(15, 40, generator=generator), torch.randn(3, 15, generator=generator)
    found = lasso(matrix, y, 2.0, iterations=2000)
    model = Lasso(alpha=2.0 / 15, fit_intercept=False, tol=1e-8, max_iter=100_000)
    expected = torch.from_numpy(model.fit(matrix.double().numpy(), y.mT.double().numpy()).coef_)
    torch.testing.assert_close(found, expected.to(found), rtol=0, atol=1e-3)
    assert 0.3 < float((found == 0).float().mean()) < 0.95


def test_lasso_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="penalty must not be negative, got -1"):
        lasso(torch.eye(3), torch.ones(2, 3), -1.0)
    with pytest.raises(ValueError, match=r"y must have shape \(n, 3\)"):
        lasso(torch.eye(3), torch.ones(2, 4), 1.0)
