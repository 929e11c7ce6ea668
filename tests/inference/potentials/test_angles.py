"""Latents on the circle are wrapped wherever a user meets them (case 43, bambinos/bambi#943)."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC
from torch import Tensor

from explainaway.inference import HMC, AlternatingBackProp, PyroKernel, bind, sample_posterior
from explainaway.inference.potentials.angles import is_angle, wrapped


def _model(y: Tensor) -> None:
    with pyro.plate("examples", len(y)):
        a = pyro.sample("a", dist.VonMises(torch.tensor(0.0), torch.tensor(1.0)))
        pyro.sample("y", dist.Normal(a.cos(), 1.0), obs=y)


def _is_wrapped(angle: Tensor) -> bool:
    return bool(((angle >= -math.pi) & (angle < math.pi)).all())


def test_draws_of_an_angle_lie_on_the_circle_and_follow_the_posterior() -> None:
    """Means of cos and sin by quadrature; five standard errors of 4,000 effective draws."""
    posterior = sample_posterior(
        _model,
        torch.zeros(1),
        kernel=HMC(),
        num_chains=40,
        warmup_steps=200,
        num_samples=300,
        progress=False,
    )
    draws = posterior.get_samples()["a"][:, 0]
    assert _is_wrapped(draws)
    assert _is_wrapped(posterior.position)
    grid = torch.linspace(-math.pi, math.pi, 10_001, dtype=torch.float64)[:-1]
    weight = (grid.cos() - 0.5 * grid.cos() ** 2).exp()
    weight /= weight.sum()
    for function in (torch.cos, torch.sin, lambda a: (2 * a).cos()):
        mean = (weight * function(grid)).sum()
        spread = (weight * (function(grid) - mean) ** 2).sum().sqrt()
        assert float(function(draws.double()).mean() - mean) == pytest.approx(
            0, abs=5 * float(spread) / 4000**0.5
        )
    assert posterior.extend(50, progress=False).samples["a"].abs().max() <= math.pi


def test_chains_of_learning_and_pyros_mcmc_give_wrapped_angles() -> None:
    fit = AlternatingBackProp(_learned, batch_size=10, num_chains=2, inference_steps=20).fit(
        torch.zeros(20), epochs=10, progress=False
    )
    assert _is_wrapped(fit.latents)
    mcmc = MCMC(PyroKernel(_model, HMC()), num_samples=200, warmup_steps=100, disable_progbar=True)
    mcmc.run(torch.zeros(5))
    assert _is_wrapped(mcmc.get_samples()["a"])


def _learned(y: Tensor) -> None:
    scale = pyro.param("scale", torch.tensor(1.0), dist.constraints.positive)
    with pyro.plate("examples", len(y)):
        a = pyro.sample("a", dist.VonMises(torch.tensor(0.0), torch.tensor(0.1)))
        pyro.sample("y", dist.Normal(a.cos(), scale), obs=y)


def test_the_model_sees_the_wrapped_angle() -> None:
    potential = bind(_linear, torch.zeros(1))
    inside, wound = torch.tensor([[0.4]]), torch.tensor([[0.4 + 4 * math.pi]])
    for one, other in zip(potential(inside), potential(wound), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def _linear(y: Tensor) -> None:
    with pyro.plate("examples", len(y)):
        a = pyro.sample("a", dist.VonMises(torch.tensor(0.0), torch.tensor(1.0)))
        pyro.sample("y", dist.Normal(a, 1.0), obs=y)


def test_which_distributions_are_of_angles() -> None:
    one = dist.VonMises(torch.zeros(3, 2), torch.ones(3, 2))
    mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(3, 2)), one)
    pair = dist.SineBivariateVonMises(0.0, 0.0, 1.0, 1.0, 0.5)
    for fn in (one, one.to_event(1), one.mask(torch.ones(3, 2) > 0), mixture, pair):
        assert is_angle(fn)
    for fn in (dist.Normal(0.0, 1.0), dist.LogNormal(0.0, 1.0), dist.Gamma(1.0, 1.0)):
        assert not is_angle(fn)


def test_wrapping_keeps_what_is_wrapped_already_to_the_bit() -> None:
    angle = torch.tensor([-math.pi, -3.0, -1e-30, 0.0, 3.14159])
    assert torch.equal(wrapped(angle), angle)
    many = 300 * torch.randn(10_000)
    assert _is_wrapped(wrapped(many))
    torch.testing.assert_close(wrapped(many).cos(), many.cos(), rtol=0, atol=2e-4)
