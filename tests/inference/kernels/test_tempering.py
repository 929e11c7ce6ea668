"""Parallel tempering: its swaps by their law, its use on a posterior with two modes."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from explainaway.inference import (
    HMC,
    AlternatingBackProp,
    KeyedSource,
    ParallelTempering,
    bind,
    sample_posterior,
)
from explainaway.inference.kernels.tempering import swap_neighbours
from explainaway.inference.warmup.ladder import LadderEstimate, respaced
from explainaway.inference.warmup.windows import adapt, start_warmup

from ...conftest import linear_gaussian


def _square(y: Tensor) -> None:
    with pyro.plate("examples", len(y)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(y)), 1.0))
        pyro.sample("y", dist.Normal(z**2, 0.1), obs=y)


def test_every_rung_keeps_its_own_distribution() -> None:
    """Replicas drawn from each rung's exact posterior stay there through moves and swaps."""
    n, weight, scale = 20_000, torch.tensor([[2.0], [1.0]]), 1.0
    linear = linear_gaussian(weight, scale)
    y = torch.tensor([[2.0, -1.0]]).expand(n, 2)
    potential = bind(linear.model, y)
    kernel = ParallelTempering(num_replicas=4, num_leapfrog=2, step_size=0.4)
    state = kernel.init(torch.zeros(n, 1), potential)
    precision = 1 + state.beta[0] * 5
    mean = state.beta[0] * 3 / precision
    replicas = mean[:, None] + torch.randn(n, 4, 1) / precision[:, None] ** 0.5
    parts = potential.repeated(4).parts(replicas.transpose(0, 1).reshape(-1, 1))
    shaped = [p.reshape(4, n, *p.shape[1:]).transpose(0, 1) for p in parts]
    state = state._replace(
        position=replicas[:, 0],
        replica_position=replicas,
        prior_energy=shaped[0],
        prior_gradient=shaped[1],
        likelihood_energy=shaped[2],
        likelihood_gradient=shaped[3],
    )
    generator = torch.Generator().manual_seed(0)
    tried = torch.zeros(3)
    for _ in range(6):
        state, _ = kernel.step(state, potential, generator)
        tried += (~state.swap_rate.isnan()).float().mean(0)
    assert (tried == 3).all()
    # 20,000 independent examples: mean and variance of each rung within five standard errors.
    z = state.replica_position[:, :, 0]
    assert ((z.mean(0) - mean).abs() < 5 * (1 / (precision * n)) ** 0.5).all()
    assert ((z.var(0) * precision - 1).abs() < 5 * (2 / n) ** 0.5).all()
    torch.testing.assert_close(
        state.prior_energy + state.likelihood_energy,
        torch.stack([potential.energy(z[:, k, None]).detach() for k in range(4)], 1),
        rtol=1e-4,
        atol=1e-4,
    )


def test_aswap_neighbours_has_the_weight_it_should() -> None:
    potential = bind(_square, torch.full((1,), 1.5))
    state = ParallelTempering(num_replicas=2).init(torch.ones(1, 1), potential)
    for cold, hot, expected in ((1.0, 4.0, 1.0), (4.0, 1.0, 0.0498), (2.0, 2.0, 1.0)):
        swapped = swap_neighbours(
            state._replace(likelihood_energy=torch.tensor([[hot, cold]])), torch.Generator()
        )
        assert float(swapped.swap_rate) == pytest.approx(expected, abs=1e-4)


def test_chains_cross_between_modes() -> None:
    """z² seen with σ = .1: modes at ± 1.2 with a barrier of 112 nats between them."""
    y = torch.tensor([1.5, 1.5, 1.5])
    stuck = sample_posterior(
        _square, y, kernel=HMC(10, mass="diagonal"), num_samples=400, progress=False
    )
    crossing = sample_posterior(
        _square, y, kernel=ParallelTempering(6), num_samples=1000, progress=False
    )
    assert stuck.summary().worst_rhat > 1.5
    assert crossing.summary().worst_rhat < 1.05
    share = (crossing.samples["z"] > 0).float().mean((0, 1))
    ess = torch.as_tensor(crossing.summary().ess[:, 0])
    # A share of one half has standard error .5/√ESS; five of them.
    assert ((share - 0.5).abs() < 2.5 / ess**0.5).all()
    # Its moments by quadrature, on a fine grid.
    grid = torch.linspace(-4, 4, 100_001, dtype=torch.double)
    weight = (-0.5 * grid**2 - 0.5 * ((1.5 - grid**2) / 0.1) ** 2).exp()
    square = float((weight * grid**2).sum() / weight.sum())
    sd = float(((weight * grid**4).sum() / weight.sum() - square**2) ** 0.5)
    values = crossing.samples["z"] ** 2
    # z² mixes faster than z's sign; its error taken from z's ESS is on the safe side.
    assert float(values.mean()) == pytest.approx(square, abs=5 * sd / float(ess.sum()) ** 0.5)


def test_a_respaced_ladder_rejects_evenly() -> None:
    """Rejection is a length along the ladder: rungs at equal shares of it."""
    beta = torch.tensor([[1.0, 0.5, 0.25, 0.0]], dtype=torch.double)
    tried = torch.full((1, 3), 100.0, dtype=torch.double)
    even = respaced(beta, LadderEstimate(30 * torch.ones_like(tried), tried))
    torch.testing.assert_close(even, beta, rtol=0, atol=1e-3)
    uneven = torch.tensor([[60.0, 20.0, 10.0]], dtype=torch.double)
    moved = respaced(beta, LadderEstimate(uneven, tried))
    # A third of .9 lies halfway through the first gap, two thirds at its end.
    torch.testing.assert_close(
        moved, torch.tensor([[1.0, 0.75, 0.5, 0.0]], dtype=torch.double), rtol=0, atol=2e-3
    )


def test_warmup_evens_out_theswap_neighbourss() -> None:
    kernel, chains, steps = ParallelTempering(6, target_acceptance=0.9), 16, 300
    potential = bind(_square, torch.tensor([1.5, 0.2]).repeat(chains))
    source = KeyedSource.of_chains(0, torch.arange(2), chains)
    state = kernel.init(torch.randn(2 * chains, 1), potential)
    first = state.beta[:2]
    warmup = start_warmup(kernel, state, chains)
    rates = []
    for step in range(2 * steps):
        state, info = kernel.step(state, potential, source.at(step))
        if step < steps:
            state, warmup = adapt(kernel, state, warmup, info, chains, step, steps)
        else:
            rates.append(state.swap_rate.reshape(chains, 2, 5))
    beta = state.beta[:2]
    assert (beta[:, 0] == 1).all()
    assert (beta[:, -1] == 0).all()
    assert (beta.diff(dim=1) < 0).all()
    assert not torch.equal(beta, first)
    # 16 chains of 150 tries each, correlated in time: a rate's standard error is below .05.
    rejection = 1 - torch.stack(rates).flatten(0, 1).nanmean(0)
    assert ((rejection - rejection.mean(1, keepdim=True)).abs() < 0.2).all()


def test_the_loop_says_that_it_keeps_no_replicas() -> None:
    linear = linear_gaussian(torch.ones(2, 1))
    with pytest.raises(ValueError, match="learn with HMC"):
        AlternatingBackProp(linear.model, ParallelTempering())
    fixed = AlternatingBackProp(linear.model, ParallelTempering(2, step_size=0.2))
    assert fixed.fit(torch.randn(4, 2), epochs=1, progress=False).latents.shape == (4, 1)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="num_replicas must be an integer of at least 2, got 1"):
        ParallelTempering(num_replicas=1)
    with pytest.raises(ValueError, match="num_leapfrog"):
        ParallelTempering(num_leapfrog=0)
