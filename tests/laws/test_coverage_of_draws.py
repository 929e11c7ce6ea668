"""Draws of hidden cells hold as much uncertainty as there is, where θ is known.

Of each example one hidden cell is compared with draws from its exact posterior predictive: its rank
among them is uniform. Shares within three Monte Carlo errors: each fails falsely once in 370 seeds.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explainaway.models import (
    Bernoulli,
    ColoredGaussian,
    Gaussian,
    GeneratorModel,
    LowRankGaussian,
    Masked,
    MultivariateGaussian,
    Normal,
    Observation,
)

LEVELS = (0.5, 0.8, 0.95)


def _model(observation: Observation, num_cells: int) -> GeneratorModel:
    model = GeneratorModel(Normal(1), nn.Linear(1, num_cells), Masked(observation))
    torch.manual_seed(1)
    nn.init.normal_(model.network.weight)
    nn.init.normal_(model.network.bias)
    return model


def _exact_latents(model: GeneratorModel, y: Tensor, hidden: Tensor, num_draws: int) -> Tensor:
    """Return posterior draws (num_draws, n, 1) by the closed form; cells hidden are (cells,)."""
    n, cells = y.shape
    base: Any = model.observation.base

    def log_prob(value: Tensor) -> Tensor:
        made = base.distribution(torch.zeros(1, cells))
        return made.log_prob(value[None])[0]

    precision = -torch.autograd.functional.hessian(log_prob, torch.zeros(cells)).double()
    covariance = torch.linalg.inv(precision)[~hidden][:, ~hidden]
    w = model.network.weight.detach()[~hidden].double()  # (observed, 1)
    pull = torch.linalg.solve(covariance, w)
    variance = 1 / (1 + (w * pull).sum())
    residual = (y - model.network.bias.detach())[:, ~hidden].double()
    mean = variance * residual @ pull  # (n, 1)
    return (mean + variance.sqrt() * torch.randn(num_draws, n, 1).double()).float()


def _coloured(size: int, padding: int = 0) -> ColoredGaussian:
    frequency = torch.fft.fftfreq(size + padding).abs()
    return ColoredGaussian((size,), 0.3 + torch.exp(-10 * frequency), padding=padding)


def _low_rank() -> LowRankGaussian:
    observation = LowRankGaussian((6,), rank=2, scale=0.4)
    with torch.no_grad():
        observation.loadings.copy_(torch.randn(2, 6, generator=torch.Generator().manual_seed(3)))
    return observation


def _dense() -> MultivariateGaussian:
    return MultivariateGaussian(0.3 * torch.eye(5) + 0.7 * torch.ones(5, 5))


@pytest.mark.parametrize(
    ("observation", "cells", "n", "num_draws"),
    [
        (Gaussian(1.0), 4, 2000, 199),
        (_dense(), 5, 2000, 39),
        (_low_rank(), 6, 2000, 39),
        (_coloured(12), 12, 1500, 39),
        (_coloured(12, padding=4), 12, 1500, 39),
        (_coloured(144), 144, 400, 39),
    ],
    ids=["white", "dense", "low rank", "circulant", "padded", "conjugate gradients"],
)
def test_intervals_of_hidden_cells_cover_what_they_say(
    observation: Observation, cells: int, n: int, num_draws: int
) -> None:
    """Case 45."""
    model = _model(observation, cells)
    truth = model.generate(n, seed=5, noise=True)
    hidden = torch.zeros(cells, dtype=torch.bool)
    hidden[1:3] = True
    y = torch.where(hidden, math.nan, truth)
    latents = _exact_latents(model, truth, hidden, num_draws)
    draws = model.impute(y, latents, seed=2)
    assert draws.shape == (num_draws, n, cells)
    assert torch.equal(draws[:, :, ~hidden], truth[:, ~hidden].expand(num_draws, -1, -1))
    rank = (draws[:, :, 1] < truth[:, 1]).sum(0)
    for level in LEVELS:
        cut = round((1 - level) / 2 * (num_draws + 1))
        expected = 1 - 2 * cut / (num_draws + 1)
        covered = float(((rank >= cut) & (rank <= num_draws - cut)).double().mean())
        error = math.sqrt(expected * (1 - expected) / n)
        assert covered == pytest.approx(expected, abs=3 * error)


def test_frequencies_of_hidden_yes_and_no_are_their_probabilities() -> None:
    model = _model(Bernoulli(), 3)
    y = torch.tensor([[1.0, math.nan, math.nan], [math.nan, 0.0, 1.0]])
    latents = torch.tensor([[0.3], [-1.0]])
    num_draws = 20_000
    draws = model.impute(y, latents, num_draws=num_draws, seed=3)
    probability = model.decode(latents).detach()
    hidden = y.isnan()
    error = (probability * (1 - probability) / num_draws).sqrt()
    assert bool(((draws.mean(0) - probability).abs() < 3 * error)[hidden].all())
    assert torch.equal(draws[:, ~hidden], y[~hidden].expand(num_draws, -1))


def test_the_predictive_variance_of_a_new_row() -> None:
    """Case 15 (iskandr/fancyimpute#121): mean .6 and variance 1.4, not the mean's .4."""
    model = GeneratorModel(Normal(1), nn.Linear(1, 2, bias=False), Masked(Gaussian(1.0)))
    nn.init.constant_(model.network.weight, 2.0)
    with torch.no_grad():
        model.network.weight[1] = 3.0
    num_draws = 100_000
    torch.manual_seed(0)
    z = 0.3 + 0.1**0.5 * torch.randn(num_draws, 1, 1)
    drawn = model.impute(torch.tensor([[math.nan, 1.0]]), z, seed=1)[:, 0, 0]
    assert float(drawn.mean()) == pytest.approx(0.6, abs=4 * (1.4 / num_draws) ** 0.5)
    assert float(drawn.var()) == pytest.approx(1.4, abs=4 * 1.4 * (2 / num_draws) ** 0.5)


def test_noise_that_is_correlated_is_drawn_given_the_observed_noise() -> None:
    """Case 9 (pymc-devs/pymc-extras#682): mean 5.466667, variance .693333."""
    noise = MultivariateGaussian([[1.0, 0.8], [0.8, 2.0]])
    model = GeneratorModel(Normal(1), nn.Linear(1, 2), Masked(noise))
    with torch.no_grad():
        model.network.weight.copy_(torch.tensor([[1.0], [2.0]]))
        model.network.bias.copy_(torch.tensor([5.0, 3.0]))
    num_draws = 100_000
    torch.manual_seed(0)
    z = 1 / 3 + (1 / 3) ** 0.5 * torch.randn(num_draws, 1, 1)
    drawn = model.impute(torch.tensor([[math.nan, 4.0]]), z, seed=1)[:, 0, 0]
    assert float(drawn.mean()) == pytest.approx(5.466667, abs=4 * (0.693333 / num_draws) ** 0.5)
    assert float(drawn.var()) == pytest.approx(0.693333, rel=4 * (2 / num_draws) ** 0.5)
