"""Alternating back-propagation with a linear network reaches the optimum that EM finds."""

from copy import copy
from typing import Any

import numpy as np
import pytest
import torch

from explainaway.inference import HMC, AlternatingBackProp
from explainaway.models import FactorAnalysis, Gaussian, GeneratorModel, Masked, Normal, mlp


@pytest.mark.parametrize("hold_out", ["auto", None])
def test_a_linear_generator_reaches_factor_analysis_with_a_third_of_the_cells_missing(
    hold_out: Any,
) -> None:
    """The gap to the maximum is below .003 nats per example; at the start it is over 4.

    What is left is Monte Carlo error and the last of the way: over five seeds the gap was .0008
    to .0013, so .003 is more than six of its standard deviations above its mean (false failures
    below 1e-6). That 5 % of the observed cells are held out for 60 % of the epochs makes no
    difference: the last stretch learns from all. The data's own sampling error,
    parameters / (2 n), is ten times .003.
    """
    n, columns, d, epochs = 400, 8, 2, 300
    rng = np.random.default_rng(0)
    loadings = rng.choice([-1.0, 1.0], (columns, d)) * rng.uniform(0.6, 1.4, (columns, d))
    noise = rng.uniform(0.5, 1.0, columns)
    y = rng.normal(size=(n, d)) @ loadings.T + noise * rng.normal(size=(n, columns)) + 1
    y[rng.random(y.shape) < 0.3] = np.nan
    best = FactorAnalysis(d, tol=1e-9).fit(y)

    noisy = Gaussian(torch.ones(columns), learn_scale=True)
    model = GeneratorModel(Normal(d), mlp(d, columns, hidden=()), Masked(noisy)).double()

    def gap() -> float:
        learned = copy(best)
        weight, bias = (parameter.detach().numpy() for parameter in model.network.parameters())
        learned.components_, learned.mean_ = weight.T, bias
        learned.noise_variance_ = noisy.scale.detach().numpy() ** 2
        return best.score(y) - learned.score(y)

    assert gap() > 4
    fit = AlternatingBackProp(
        model,
        kernel=HMC(5),
        inference_steps=1,
        optimizer=torch.optim.Adam(model.parameters(), lr=6e-2),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs),
        batch_size=n,
        num_chains=4,
    ).fit(torch.from_numpy(y), epochs=epochs, seed=0, hold_out=hold_out, progress=False)
    assert (fit.held_out is None) is (hold_out is None)
    assert 0 <= gap() < 0.003
