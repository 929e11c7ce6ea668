"""Closed forms: the linear-Gaussian generator, and the plain Langevin's bias."""

from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import HMC, MALA, KeyedSource, Langevin, bind, sample_posterior

from ..conftest import linear_gaussian


@pytest.mark.parametrize("kernel", [MALA(), HMC(5)], ids=repr)
def test_draws_have_the_exact_mean_and_covariance(kernel: Any) -> None:
    linear = linear_gaussian(torch.randn(6, 2), scale=0.5, bias=torch.randn(6))
    y = torch.where(torch.rand(8, 6) < 0.6, torch.randn(8, 6), torch.nan)
    posterior = sample_posterior(
        linear.model,
        y,
        kernel=kernel,
        num_chains=40,
        warmup_steps=200,
        num_samples=250,
        progress=False,
    )
    mean, covariance = linear.posterior(y, ~y.isnan())
    sd = covariance.diagonal(dim1=1, dim2=2).sqrt()
    ess = torch.tensor(posterior.summary().ess, dtype=torch.float32)
    z = posterior.get_samples()["z"]
    # 16 means and 16 variances within 6 Monte Carlo standard errors each (the variance's is that
    # of a normal, √2 larger; its own ESS is at least a third of the mean's here): false failure
    # below 32 * 2e-9, with the slack for the estimated ESS.
    assert ((z.mean(0) - mean).abs() < 6 * sd / ess.sqrt()).all()
    assert ((z.var(0) / sd**2 - 1).abs() < 6 * (6 / ess).sqrt()).all()


@pytest.mark.parametrize(
    ("weight", "s_squared", "variance"),
    [(0.0, 0.2, 1.052632), (2.0, 0.04, 0.210526)],
)
def test_langevins_bias_is_its_closed_form(
    weight: float, s_squared: float, variance: float
) -> None:
    """Case 2: z ~ N(0, 1) alone, and y = 2z + noise, whose exact posterior variance is .2."""
    linear = linear_gaussian(torch.tensor([[weight]]))
    n = 40_000
    potential = bind(linear.model, torch.zeros(n, 1))
    precision = 1 + weight**2
    s = s_squared**0.5
    assert variance == pytest.approx(s**2 / (1 - (1 - s**2 * precision / 2) ** 2), abs=1e-6)
    for kernel, expected in ((Langevin(s), variance), (MALA(s), 1 / precision)):
        generator = torch.Generator().manual_seed(0)
        # From the exact posterior; the slower chain forgets its variance at a rate of .81 a step.
        state = kernel.init(torch.randn(n, 1) / precision**0.5, potential)
        for _ in range(40):
            state, _ = kernel.step(state, potential, generator)
        # Independent chains: the variance's standard error is v √(2/n); five of them, 3 tests.
        tolerance = 5 * expected * (2 / n) ** 0.5
        assert float(state.position.var()) == pytest.approx(expected, abs=tolerance)
        if isinstance(kernel, Langevin):
            assert abs(expected - 1 / precision) > 1.4 * tolerance


def test_langevin_reports_the_ratio_that_mala_would_have_used() -> None:
    def quartic(z: Tensor) -> tuple[Tensor, Tensor]:
        return (z**4).sum(1) / 4, z**3

    start = torch.randn(100, 2, dtype=torch.double)
    langevin, mala = Langevin(0.5), MALA(0.5)
    moved, first = langevin.step(
        langevin.init(start, quartic), quartic, torch.Generator().manual_seed(0)
    )
    _, later = langevin.step(moved, quartic, torch.Generator().manual_seed(1))
    _, info = mala.step(mala.init(start, quartic), quartic, torch.Generator().manual_seed(0))
    assert first.acceptance_rate.isnan().all()
    torch.testing.assert_close(later.energy_error, info.energy_error)


def test_the_state_follows_the_target() -> None:
    """Case 1 (TuringLang/Turing.jl#2875): w = 1, then w = 3, at z = y = 1."""
    linear = linear_gaussian(torch.ones(1, 1, dtype=torch.double))
    y, z = torch.ones(1, 1, dtype=torch.double), torch.ones(1, 1, dtype=torch.double)
    potential = bind(linear.model, y)
    stale = MALA(0.1).init(z, potential)
    assert float(-stale.energy) == pytest.approx(-2.337877, abs=1e-6)
    with torch.no_grad():
        linear.model.network[0].weight.fill_(3.0)
    fresh = MALA(0.1).init(stale.position, potential)
    assert float(-fresh.energy) == pytest.approx(-4.337877, abs=1e-6)
    energy, gradient = potential(z)
    assert torch.equal(fresh.energy, energy)
    assert torch.equal(fresh.gradient, gradient)


def test_each_example_has_its_own_step_size() -> None:
    """Case 5: posterior standard deviations .7071 and .0100 in one batch."""

    def two(z: Tensor) -> tuple[Tensor, Tensor]:
        precision = torch.tensor([[1 / 0.7071**2], [1 / 0.01**2]]).repeat(z.shape[0] // 2, 1)
        return (precision * z**2).sum(1) / 2, precision * z

    from explainaway.inference.warmup.step_size import (
        pool_chains,
        start_dual_averaging,
        update_dual_averaging,
    )

    kernel, chains = MALA(), 50
    source = KeyedSource(0, torch.tensor([0, 1]).repeat(chains), torch.arange(2 * chains) // 2)
    state = kernel.init(torch.zeros(2 * chains, 1), two)
    adaptation = start_dual_averaging(state.step_size[:2])
    for step in range(300):
        state, info = kernel.step(state, two, source.at(step))
        rate = pool_chains(info.acceptance_rate, chains)
        adaptation = update_dual_averaging(adaptation, rate, kernel.target_acceptance)
        state = state._replace(step_size=adaptation.log_step_size.exp().repeat(chains))
    state = state._replace(step_size=adaptation.log_average.exp().repeat(chains))
    rates = []
    for step in range(300, 500):
        state, info = kernel.step(state, two, source.at(step))
        rates.append(pool_chains(info.acceptance_rate, chains))
    rate = torch.stack(rates).mean(0)
    assert ((rate - kernel.target_acceptance).abs() < 0.05).all()
    sizes = state.step_size[:2]
    assert float(sizes[0] / sizes[1]) == pytest.approx(70.71, rel=0.1)


def test_an_example_with_nothing_observed_samples_the_prior() -> None:
    """Case 13: w = 2; the cell's prediction has mean 0 and variance 5."""
    linear = linear_gaussian(torch.tensor([[2.0]]))
    posterior = sample_posterior(
        linear.model,
        torch.tensor([[torch.nan], [1.0]]),
        num_chains=32,
        num_samples=250,
        progress=False,
    )
    z = posterior.get_samples()["z"][:, 0, 0]
    cell = posterior.to_arviz(predictive_draws=1000).posterior_predictive["y"].values[:, :, 0, 0]
    ess = posterior.summary().ess[0, 0]
    assert abs(float(z.mean())) < 6 / ess**0.5
    assert float(z.var()) == pytest.approx(1.0, abs=6 * (6 / ess) ** 0.5)
    assert abs(cell.mean()) < 6 * (5 / ess) ** 0.5
    assert cell.var() == pytest.approx(5.0, abs=5 * 6 * (6 / ess) ** 0.5)


def test_a_new_row_is_predicted_with_all_its_variance() -> None:
    """Case 15: w = (2, 3), y = (missing, 1): mean .6, predictive variance 1.4, not .4."""
    linear = linear_gaussian(torch.tensor([[2.0], [3.0]]))
    posterior = sample_posterior(
        linear.model,
        torch.tensor([[torch.nan, 1.0]]),
        num_chains=32,
        num_samples=250,
        accumulate={"image": linear.model.decode},
        progress=False,
    )
    ess = posterior.summary().ess.min()
    drawn = posterior.to_arviz(predictive_draws=1000).posterior_predictive["y"].values[..., 0, 0]
    assert drawn.mean() == pytest.approx(0.6, abs=6 * (1.4 / ess) ** 0.5)
    assert drawn.var() == pytest.approx(1.4, abs=1.4 * 6 * (6 / ess) ** 0.5)
    assert float(posterior.accumulated["image"].variance[0, 0]) == pytest.approx(
        0.4, abs=0.4 * 6 * (6 / ess) ** 0.5
    )
