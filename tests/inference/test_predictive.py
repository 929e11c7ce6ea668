"""Draws of the data, read from a posterior."""

import math
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import HMC, Posterior, sample_posterior
from explainaway.inference.diagnostics.moments import merge
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal

Y = torch.tensor([[math.nan, 1.0], [5.0, math.nan], [2.0, 3.0]])


def _model() -> GeneratorModel:
    model = GeneratorModel(Normal(1), nn.Linear(1, 2, bias=False), Masked(Gaussian(1.0)))
    with torch.no_grad():
        model.network.weight.copy_(torch.tensor([[2.0], [3.0]]))
    return model


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return sample_posterior(
        _model(), Y, kernel=HMC(), warmup_steps=150, num_samples=2000, progress=False
    )


def test_hidden_cells_have_the_exact_predictive_moments(posterior: Posterior) -> None:
    """Case 15: mean .6, variance 1.4. 8,000 nearly independent draws, five standard errors."""
    drawn = posterior.impute(seed=1)
    assert drawn.shape == (8000, 3, 2)
    seen = ~Y.isnan()
    assert torch.equal(drawn[:, seen], Y[seen].expand(8000, -1))
    hidden = drawn[:, 0, 0]
    assert float(hidden.mean()) == pytest.approx(0.6, abs=5 * (1.4 / 4000) ** 0.5)
    assert float(hidden.var()) == pytest.approx(1.4, rel=5 * (2 / 4000) ** 0.5)


def test_predictions_draw_observed_cells_too(posterior: Posterior) -> None:
    """Given y2 = 1, a second measurement of it has mean .9 and variance 1.9."""
    drawn = posterior.predict(seed=1)
    assert drawn.shape == (8000, 3, 2)
    again = drawn[:, 0, 1]
    assert float(again.mean()) == pytest.approx(0.9, abs=5 * (1.9 / 4000) ** 0.5)
    assert float(again.var()) == pytest.approx(1.9, rel=5 * (2 / 4000) ** 0.5)


def test_a_seed_reproduces_and_some_draws_can_be_asked_for(posterior: Posterior) -> None:
    for method in (posterior.impute, posterior.predict):
        some = method(num_draws=7, seed=3)
        assert some.shape == (7, 3, 2)
        assert torch.equal(some, method(num_draws=7, seed=3))
        assert not torch.equal(some, method(num_draws=7, seed=4))
    with pytest.raises(ValueError, match=r"num_draws must be at most the 8000 draws .* got 8001"):
        posterior.impute(num_draws=8001)


def test_without_a_model_it_says_what_to_do(posterior: Posterior, tmp_path: Path) -> None:
    posterior.save(tmp_path / "posterior")
    loaded = Posterior.load(tmp_path / "posterior")
    with pytest.raises(ValueError, match=r"impute\(\) needs the model"):
        loaded.impute()
    with pytest.raises(ValueError, match=r"predict\(\) needs the model"):
        loaded.predict()


def test_masks_are_those_that_were_given() -> None:
    whole = torch.where(Y.isnan(), 9.0, Y)
    drawn = sample_posterior(
        _model(), whole, mask=~Y.isnan(), warmup_steps=40, num_samples=10, progress=False
    ).impute()
    assert bool((drawn[:, Y.isnan()] != 9.0).all())
    assert torch.equal(drawn[0][~Y.isnan()], whole[~Y.isnan()])


def _two_sites(a: Tensor, b: Tensor) -> None:
    with pyro.plate("data", len(a)):
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        pyro.sample("a", dist.Normal(rate, 1.0), obs=a)
        pyro.sample("b", dist.Poisson(rate), obs=b)


def test_several_sites_are_a_dict_and_a_model_of_ones_own_cannot_impute() -> None:
    posterior = sample_posterior(
        _two_sites, torch.ones(4), torch.ones(4), warmup_steps=40, num_samples=10, progress=False
    )
    drawn = posterior.predict(num_draws=8)
    assert {name: value.shape for name, value in drawn.items()} == {"a": (8, 4), "b": (8, 4)}
    with pytest.raises(ValueError, match=r"the model has no method impute\(y, latents"):
        posterior.impute()


def test_accumulated_moments_are_detached_whatever_the_function_gives() -> None:
    scale = torch.ones(1, requires_grad=True)
    with torch.enable_grad():
        moments = merge(None, scale * torch.randn(3, 2))
        moments = merge(moments, scale * torch.randn(3, 2))
    assert not moments.mean.requires_grad
    assert not moments.variance.requires_grad
