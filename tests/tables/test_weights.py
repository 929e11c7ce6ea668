"""Draws of weights, noise scales and latents against what is known in closed form."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from explainaway.models import GeneratorModel
from explainaway.tables.frames import as_frame
from explainaway.tables.limits import checked_limits
from explainaway.tables.row_chains import latent_draws
from explainaway.tables.stacking import largest_good_share
from explainaway.tables.table import Table
from explainaway.tables.table_model import table_model
from explainaway.tables.weights import WeightDraws

DIM = 2


def _linear_model(
    y: NDArray[np.float64], weights: Tensor, scales: Tensor
) -> tuple[GeneratorModel, Tensor]:
    """Return a linear model of a table of numbers, and the table in its terms."""
    frame = as_frame(y)
    table = Table.of(frame, {}, checked_limits(None, list(frame), frame.index), 2)
    model = table_model(table.layout, DIM, (), seed=0, is_linear=True)
    with torch.no_grad():
        model.network.linear[0].weight.copy_(weights)
        model.observation.base.kinds[0].log_scale.copy_(scales.log())
    return model.eval(), table.rows(*table.read(frame)).y


def test_latents_of_a_linear_model_have_their_exact_posterior() -> None:
    """z | y ~ N(G⁻¹ Wᵀ y/σ², G⁻¹), G = I + Wᵀ W/σ² over the observed columns.

    2,000 chains for each of six rows: |z| < 5 for 30 moments, false failures in 2e-5 of seeds.
    """
    noise = np.random.default_rng(0)
    y = noise.normal(size=(60, 4))
    y[:6][noise.random((6, 4)) < 0.4] = np.nan
    weights = torch.as_tensor(noise.normal(size=(4, DIM)), dtype=torch.float32)
    scales = torch.tensor([0.1, 0.3, 0.5, 1.0])
    model, scores = _linear_model(y, weights, scales)
    some = scores[:6]
    (draws,) = latent_draws([model], [scales**-2.0], some, None, np.arange(6), 2000, seed=1)
    for row in range(6):
        seen = ~some[row].isnan()
        w = weights[seen].double()
        information = (scales[seen] ** -2.0).double()
        precision = torch.eye(DIM).double() + (w.T * information) @ w
        covariance = precision.inverse()
        mean = covariance @ (w.T @ (information * some[row, seen].double()))
        z = draws[:, row].double() - mean
        standard_errors = (covariance.diagonal() / len(z)).sqrt()
        assert ((z.mean(0) / standard_errors).abs() < 5).all()
        variances = z.T @ z / len(z)
        products = torch.outer(covariance.diagonal(), covariance.diagonal())
        spread = ((products + covariance**2) / len(z)).sqrt()
        assert (((variances - covariance) / spread).abs() < 5).all()


def test_draws_of_a_row_do_not_depend_on_the_other_rows() -> None:
    noise = np.random.default_rng(0)
    y = noise.normal(size=(40, 4))
    y[noise.random(y.shape) < 0.3] = np.nan
    weights = torch.as_tensor(noise.normal(size=(4, DIM)), dtype=torch.float32)
    scales = torch.full((4,), 0.5)
    model, scores = _linear_model(y, weights, scales)
    ids = np.arange(40)
    (whole,) = latent_draws([model], [scales**-2.0], scores, None, ids, 3, seed=0)
    (part,) = latent_draws([model], [scales**-2.0], scores[5:9], None, ids[5:9], 3, seed=0)
    # Products of matrices differ in the last bits by the size of the batch.
    torch.testing.assert_close(part, whole[:, 5:9], rtol=0, atol=1e-3)


def test_a_slope_is_drawn_as_surely_as_a_regression_knows_it() -> None:
    """Correlation .8, 40 complete rows: the slope's posterior has the regression's error.

    Of 20 draws the spread is known to 16 %, of draws that follow each other somewhat less well; the
    prior pulls slopes towards zero by less than an error.
    """
    noise = np.random.default_rng(1)
    y = noise.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=80)
    y[:40, 1] = np.nan
    model, scores = _linear_model(y, torch.zeros(2, DIM), torch.full((2,), 0.7))
    posterior = WeightDraws(epochs=300, number=20).draw(model, scores, None, seed=0)
    slopes = []
    for drawn in posterior.models:
        weights = drawn.network.weights[:, :DIM].detach()
        noise_of_first = drawn.observation.base.kinds[0].scale[0].detach() ** 2
        slopes.append(weights[0] @ weights[1] / (weights[0] @ weights[0] + noise_of_first))
    slopes = np.array(slopes)
    x, known = scores[40:].double().numpy().T
    slope, offset = np.polyfit(x, known, 1)
    residual = known - offset - slope * x
    error = np.sqrt(residual.var(ddof=2) / ((x - x.mean()) ** 2).sum())
    assert slopes.mean() == pytest.approx(slope, abs=1.5 * error)
    assert 0.5 * error < slopes.std() < 2 * error


def test_noise_scales_are_drawn_around_the_true_ones() -> None:
    """Six columns of one latent, noise .5 of a spread of √1.25: .447, known to some 6 %."""
    noise = np.random.default_rng(0)
    y = noise.normal(size=(200, 1)) + 0.5 * noise.normal(size=(200, 6))
    model, scores = _linear_model(y, torch.zeros(6, DIM), torch.full((6,), 0.7))
    models = WeightDraws(epochs=300, number=20).draw(model, scores, None, seed=0).models
    scales = torch.stack([m.observation.base.kinds[0].scale.detach() for m in models])
    assert float(scales.mean()) == pytest.approx(0.5 / 1.25**0.5, rel=0.08)
    assert 0.03 < float(scales.std(0).mean()) / float(scales.mean()) < 0.12


def test_the_learned_model_is_left_as_it_is_and_a_seed_gives_the_same_draws() -> None:
    noise = np.random.default_rng(0)
    weights = torch.as_tensor(noise.normal(size=(4, DIM)), dtype=torch.float32)
    model, scores = _linear_model(noise.normal(size=(30, 4)), weights, torch.full((4,), 0.5))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    draws = WeightDraws(epochs=6, number=2)
    first, second = (draws.draw(model, scores, None, seed=3) for _ in range(2))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    for one, other in zip(first.models, second.models, strict=True):
        assert torch.equal(one.network.weights, other.network.weights)
    assert not torch.equal(first.models[0].network.weights, first.models[1].network.weights)


def test_the_largest_share_that_is_as_good_as_the_best_is_taken() -> None:
    noise = np.random.default_rng(0)
    density = noise.normal(-1, 1, 400)
    # The same, better, and worse by a tenth of a nat, twenty standard errors.
    assert largest_good_share(density, density) == 1
    other = density + noise.normal(0, 0.1, 400)
    assert largest_good_share(other + 0.1, density) == 1
    assert largest_good_share(other - 0.1, density) < 0.3


@pytest.mark.slow
def test_correlations_lie_in_their_intervals_with_half_of_the_cells_hidden() -> None:
    """Ten correlations of each of eight normal tables of 100 rows, intervals of 90 %.

    Those of a table depend on each other: taken for three independent ones each, the share has a
    standard error of .06. Without draws of the weights it would be none.
    """
    inside = []
    for seed in range(8):
        noise = np.random.default_rng(seed)
        loadings = noise.normal(size=(5, 2))
        covariance = loadings @ loadings.T + 0.5 * np.eye(5)
        spread = np.sqrt(covariance.diagonal())
        y = noise.multivariate_normal(np.zeros(5), covariance, size=100)
        y[noise.random(y.shape) < 0.5] = np.nan
        model, scores = _linear_model(y, torch.zeros(5, DIM), torch.full((5,), 0.7))
        models = WeightDraws(epochs=300, number=39).draw(model, scores, None, seed).models
        drawn = []
        for each in models:
            w = each.network.weights[:, :DIM].detach()
            scales = each.observation.base.kinds[0].scale.detach()
            made = (w @ w.T + torch.diag(scales**2)).double().numpy()
            root = np.sqrt(made.diagonal())
            drawn.append((made / np.outer(root, root))[np.triu_indices(5, 1)])
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0, method="weibull")
        true = (covariance / np.outer(spread, spread))[np.triu_indices(5, 1)]
        inside.append((low <= true) & (true <= high))
    assert 0.72 < np.mean(inside) <= 1
