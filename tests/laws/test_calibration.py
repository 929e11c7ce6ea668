"""Simulation-based calibration (Talts, Betancourt, Simpson, Vehtari & Gelman 2018)."""

from typing import Any

import pytest
import scipy.stats
import torch

from explainaway.inference import HMC, MALA, ParallelTempering, RiemannianMALA, sample_posterior
from explainaway.models import Bernoulli, Gaussian, GeneratorModel, Masked, Normal, mlp

NUM, KEPT, THIN = 2000, 19, 20


@pytest.mark.slow
@pytest.mark.parametrize("observation", [Gaussian(0.5, torch.tanh), Bernoulli()], ids=["g", "b"])
@pytest.mark.parametrize(
    "kernel",
    [MALA(), HMC(5), HMC(), RiemannianMALA(), ParallelTempering(3, num_leapfrog=4)],
    ids=["mala", "hmc-5", "hmc", "riemannian", "tempering"],
)
def test_ranks_of_the_truth_are_uniform(kernel: Any, observation: Any) -> None:
    """Two chi-square tests of 2,000 ranks in 20 bins each: false failure 2e-6."""
    model = GeneratorModel(Normal(2), mlp(2, (4,), hidden=(8,)), Masked(observation))
    z = torch.randn(NUM, 2)
    with torch.no_grad():
        y = observation.distribution(model.network(z)).sample()
    y = torch.where(torch.rand(y.shape) < 0.7, y, torch.nan)
    posterior = sample_posterior(
        model,
        y,
        kernel=kernel,
        num_chains=1,
        warmup_steps=300,
        num_samples=KEPT * THIN,
        progress=False,
    )
    draws = posterior.samples["z"][0, THIN - 1 :: THIN]
    ranks = (draws < z).sum(0)
    for component in range(2):
        counts = torch.bincount(ranks[:, component], minlength=KEPT + 1)
        assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-6
