"""Draws of hidden cells: shapes, seeds, every family, what cannot be drawn."""

import math

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Predictive
from torch import Tensor, nn

from explainaway.models import (
    Bernoulli,
    Categorical,
    Censored,
    Columns,
    Gaussian,
    GeneratorModel,
    Masked,
    MultivariateGaussian,
    Normal,
    Observation,
    Ordinal,
    Poisson,
    Sensed,
    Truncated,
    mlp,
)
from explainaway.models.observations import StudentT
from explainaway.models.operators import RandomProjection

TABLE = Columns(
    {
        "dose": StudentT(5.0, 0.4),
        "visits": Poisson(),
        "colour": Categorical(3),
        "pain": Ordinal(4),
        "smoker": Bernoulli(),
        ("height", "weight"): MultivariateGaussian([[1.0, 0.9], [0.9, 1.0]]),
    }
)

OBSERVATIONS = {
    "gaussian": (Gaussian(0.5), 4),
    "columns": (TABLE, 7),
    "truncated": (Truncated(Gaussian(0.5), 0.0, 1.0), 4),
    "truncated counts": (Truncated(Poisson(), low=1), 4),
    "censored": (Censored(Gaussian(0.5), upper=0.2), 4),
    "sensed": (Sensed(Gaussian(0.5), RandomProjection((4,), 4)), 4),
    "sensed, correlated": (
        Sensed(MultivariateGaussian(torch.eye(4) + 0.5), RandomProjection((4,), 4)),
        4,
    ),
    "callable": (lambda output: dist.Gumbel(output, 1.0), 4),
}


def _model(observation: Observation, cells: int) -> GeneratorModel:
    masked = Masked(observation)
    return GeneratorModel(Normal(2), mlp(2, masked.output_shape((cells,)), (8,)), masked)


def _data(model: GeneratorModel, n: int = 5) -> Tensor:
    y = model.generate(n, seed=0, noise=True)
    return torch.where(torch.rand(y.shape) < 0.6, y, math.nan)


@pytest.mark.parametrize(("observation", "cells"), OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_hidden_cells_are_drawn_and_observed_ones_stay(
    observation: Observation, cells: int
) -> None:
    model = _model(observation, cells)
    y = _data(model)
    seen = ~y.isnan()
    latents = torch.randn(3, 2, 5, 2)
    draws = model.impute(y, latents, num_draws=4, seed=1)
    assert draws.shape == (4 * 3 * 2, 5, cells)
    assert not draws.isnan().any()
    assert not draws.requires_grad
    if isinstance(observation, Censored):
        # What was to be measured lies beyond the limit.
        limited = seen & (y >= 0.2)
        assert bool((draws[:, limited] >= 0.2).all())
        seen = seen & ~limited
    assert torch.equal(draws[:, seen], y[seen].expand(len(draws), -1))
    assert bool((draws[:, ~seen].double().std(0) > 0).any())
    assert torch.equal(draws, model.impute(y, latents, num_draws=4, seed=1))
    assert not torch.equal(draws, model.impute(y, latents, num_draws=4, seed=2))
    with torch.no_grad():
        made = model.observation.distribution(model.network(latents[0, 0]))
    if not isinstance(observation, Censored):
        assert bool(made.log_prob(draws[0]).isfinite().all())


def test_a_mask_hides_cells_as_nan_does() -> None:
    model = _model(Gaussian(0.5), 4)
    y = model.generate(5, seed=0, noise=True)
    mask = torch.rand(y.shape) < 0.5
    z = torch.randn(5, 2)
    by_mask = model.impute(y, z, seed=3, mask=mask)
    assert torch.equal(by_mask, model.impute(torch.where(mask, y, math.nan), z, seed=3))


def test_the_random_state_is_left_as_it_was() -> None:
    model = _model(Gaussian(0.5), 4)
    y, before = _data(model), torch.random.get_rng_state()
    model.impute(y, torch.zeros(5, 2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_cells_with_limits_of_their_own_are_drawn_within_them() -> None:
    model = _model(Censored(Gaussian(1.0)), 3)
    y = torch.tensor([[0.5, math.nan, math.nan]])
    lower = torch.tensor([[math.nan, 2.0, math.nan]])
    upper = torch.tensor([[math.nan, 2.5, math.nan]])
    draws = model.impute(
        y, torch.zeros(1, 2), num_draws=2000, context={"lower": lower, "upper": upper}
    )[:, 0]
    assert bool((draws[:, 0] == 0.5).all())
    assert bool(((draws[:, 1] >= 2.0) & (draws[:, 1] <= 2.5)).all())
    assert float(draws[:, 2].std()) == pytest.approx(1.0, abs=0.1)


def test_values_beyond_a_limit_have_the_conditional_mean() -> None:
    """Case 16's kind: E[Y | Y >= 1] of N(0, 1) is φ(1) / Φ(-1) = 1.525135."""
    model = _model(Censored(Gaussian(1.0), upper=1.0), 1)
    for parameter in model.network.parameters():
        nn.init.zeros_(parameter)
    draws = model.impute(torch.tensor([[1.0]]), torch.zeros(1, 2), num_draws=20_000)
    assert float(draws.min()) >= 1.0
    assert float(draws.mean()) == pytest.approx(1.525135, abs=4 * 0.446 / 20_000**0.5)


class _Joint(Observation):
    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: object = None
    ) -> dist.TorchDistribution:
        return dist.MultivariateNormal(output, torch.eye(output.shape[1]))


def test_what_cannot_be_drawn_says_so() -> None:
    model = _model(_Joint(), 3)
    y = torch.tensor([[0.0, math.nan, 1.0]])
    with pytest.raises(TypeError, match=r"_Joint gives a MultivariateNormal.*draw_given\(y\)"):
        model.impute(y, torch.zeros(1, 2))
    whole = torch.zeros(1, 3)
    assert torch.equal(model.impute(whole, torch.zeros(1, 2)), whole[None])
    bare = GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.5))
    with pytest.raises(ValueError, match=r"y\[0, 1\] is NaN.*write Masked\(Gaussian"):
        bare.impute(y, torch.zeros(1, 2))
    masked = _model(Gaussian(0.5), 3)
    with pytest.raises(ValueError, match=r"y must have the example as its first.* of size 2"):
        masked.impute(y, torch.zeros(4, 2, 2))
    with pytest.raises(ValueError, match=r"observed must have the example as its first dimension"):
        masked.reconstruct(torch.zeros(4, 2, 2), observed=y)
    with pytest.raises(ValueError, match="num_draws must be a positive integer, got 0"):
        masked.impute(y, torch.zeros(1, 2), num_draws=0)
    with pytest.raises(ValueError, match="event shape"):
        masked.impute(torch.full((1, 4), math.nan), torch.zeros(1, 2))


def test_running_the_model_draws_hidden_cells() -> None:
    """Case 54: what was returned was the value that fills them, 0."""
    model = _model(Gaussian(0.5), 4)
    y = _data(model)
    seen = ~y.isnan()
    z = torch.randn(300, 5, 2)
    drawn = Predictive(model, {"z": z})(y)["y"]
    assert torch.equal(drawn[:, seen], y[seen].expand(300, -1))
    expected = torch.stack([model.decode(one) for one in z]).detach()
    apart = (drawn - expected)[:, ~seen] / 0.5
    assert float(apart.std()) == pytest.approx(1.0, abs=4 / (2 * apart.numel()) ** 0.5)
    once = model(y)
    assert torch.equal(once[seen], y[seen])
    assert not torch.equal(once[~seen], model(y)[~seen])


def test_running_the_model_draws_hidden_noise_given_the_observed_noise() -> None:
    model = _model(MultivariateGaussian([[1.0, 0.999], [0.999, 1.0]]), 2)
    for parameter in model.network.parameters():
        nn.init.zeros_(parameter)
    y = torch.full((2000, 2), 3.0)
    y[:, 1] = math.nan
    assert float((model(y)[:, 1] - 3.0).abs().max()) < 0.5
