"""Draws of rows' latents by the network against what is known in closed form."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explainaway.models import GeneratorModel
from explainaway.tables.frames import as_frame
from explainaway.tables.limits import checked_limits
from explainaway.tables.network import Network
from explainaway.tables.row_chains import latent_draws
from explainaway.tables.table import Table
from explainaway.tables.table_model import table_model

DIM = 2


def _linear_model(
    y: NDArray[np.float64], weights: Tensor, scales: Tensor
) -> tuple[GeneratorModel, Tensor]:
    """Return a linear model of a table of numbers, and the table in its terms."""
    frame = as_frame(y)
    table = Table.of(frame, {}, checked_limits(None, list(frame), frame.index), 2)
    model = table_model(table.layout, DIM, (), seed=0)
    with torch.no_grad():
        model.network.bends.zero_()
        model.network.linear[0].weight.copy_(weights)
        model.observation.base.kinds[0].log_scale.copy_(scales.log())
    return model.eval(), table.rows(*table.read(frame)).y


def test_latents_of_a_linear_model_have_their_exact_posterior() -> None:
    """z | y ~ N(G⁻¹ Wᵀ y/σ², G⁻¹), G = I + Wᵀ W/σ² over the observed columns.

    2,000 draws for each of six rows, of chains whose steps are independent draws but for the
    rejected ones: |z| < 5 for 30 moments.
    """
    noise = np.random.default_rng(0)
    y = noise.normal(size=(60, 4))
    y[:6][noise.random((6, 4)) < 0.4] = np.nan
    weights = torch.as_tensor(noise.normal(size=(4, DIM)), dtype=torch.float32)
    scales = torch.tensor([0.1, 0.3, 0.5, 1.0])
    model, scores = _linear_model(y, weights, scales)
    some = scores[:6]
    draws = latent_draws(model, scales**-2.0, some, None, np.arange(6), 2000, seed=1)
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
    whole = latent_draws(model, scales**-2.0, scores, None, ids, 3, seed=0)
    part = latent_draws(model, scales**-2.0, scores[5:9], None, ids[5:9], 3, seed=0)
    # Products of matrices differ in the last bits by the size of the batch.
    torch.testing.assert_close(part, whole[:, 5:9], rtol=0, atol=1e-3)


def test_noise_of_a_row_is_its_own_alone() -> None:
    """Whatever rows are beside it; that of rows and of seeds side by side is independent.

    Correlations of 4 x 400 numbers, |z| < 4.
    """
    noise = np.random.default_rng(0)
    frame = as_frame(noise.normal(size=(150, 4)))
    table = Table.of(frame, {}, {}, 2)
    scales = torch.full((4,), 0.5)
    model, _ = _linear_model(frame.to_numpy(), torch.zeros(4, DIM), scales)
    empty = np.full((150, 4), np.nan)
    rows = table.rows(empty, np.isnan(empty))
    network, ids = Network(table, model, scales**-2.0), np.arange(150)
    whole = network.drawn(rows, ids, 400, seed=0).cells
    some = np.array([3, 64, 70, 149])
    part = network.drawn(rows.some(some), some, 400, seed=0).cells
    np.testing.assert_array_equal(part, whole[:, some])
    other = network.drawn(rows.some(some), some, 400, seed=1).cells
    pairs = [(whole[:, 3], whole[:, 4]), (whole[:, 3], whole[:, 67]), (part, other)]
    for first, second in pairs:
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / np.sqrt(first.size)
