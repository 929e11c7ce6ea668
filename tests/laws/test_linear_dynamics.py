"""A linear network over a VAR is a linear dynamical system: Kalman's smoother and EM know it."""

from typing import Literal

import pytest
import torch
from torch import Tensor

from explainaway.inference import HMC, AlternatingBackProp, sample_posterior
from explainaway.models import (
    VAR,
    Gaussian,
    GeneratorModel,
    Masked,
    OverTime,
    forecast,
    mlp,
)

from ..models.dynamics.kalman import LinearSystem, dense, em_step, smooth

SYSTEM = LinearSystem(
    transition=torch.tensor([[0.9, 0.4], [-0.3, 0.7]]).double(),
    innovation=torch.tensor([[0.5, 0.1], [0.1, 0.3]]).double(),
    loadings=torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.2, 0.8]]).double(),
    bias=torch.tensor([0.5, -1.0, 0.0]).double(),
    variance=0.25,
)


def _linear(
    length: int,
    learn: bool | Literal["closed form"] = False,
    system: LinearSystem = SYSTEM,
) -> GeneratorModel:
    """Return the library's model of a system."""
    network = mlp(2, 3, hidden=())
    observation = Masked(Gaussian(system.variance**0.5, learn_scale=bool(learn)))
    prior = VAR(2, length, system.transition, system.innovation, learn=learn)
    model = GeneratorModel(prior, OverTime(network), observation).double()
    with torch.no_grad():
        network[0].weight.copy_(system.loadings)
        network[0].bias.copy_(system.bias)
    return model


def _system(model: GeneratorModel) -> LinearSystem:
    """Return the system that a model has become."""
    layer = model.network.network[0]
    with torch.no_grad():
        return LinearSystem(
            model.prior.transition,
            model.prior.innovation,
            layer.weight.clone(),
            layer.bias.clone(),
            float(model.observation.base.scale) ** 2,
        )


def _data(num: int, length: int, seed: int = 0) -> Tensor:
    """Return sequences with every fifth frame missing, and 30 % of the other cells."""
    y = _linear(length).generate(num, seed=seed, noise=True)
    hidden = torch.rand(y.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    frames = (torch.arange(length)[None] + torch.arange(num)[:, None]) % 5 == 2
    return torch.where(hidden | frames[:, :, None], torch.nan, y)


def test_the_oracle_agrees_with_conditioning_one_big_normal() -> None:
    y = _data(3, 7)
    moments = smooth(SYSTEM, y)
    for i in range(3):
        mean, covariance, evidence = dense(SYSTEM, y[i])
        torch.testing.assert_close(moments.mean[i].reshape(-1), mean)
        torch.testing.assert_close(moments.log_likelihood[i], evidence)
        for t in range(7):
            block = covariance[2 * t : 2 * t + 2, 2 * t : 2 * t + 2]
            torch.testing.assert_close(moments.covariance[i, t], block)
        for t in range(6):
            block = covariance[2 * t + 2 : 2 * t + 4, 2 * t : 2 * t + 2]
            torch.testing.assert_close(moments.lagged[i, t], block)


def test_the_joint_density_is_evidence_times_posterior() -> None:
    """At any z: log p(y, z) = log p(y) + log p(z | y), to the rounding of a float32 log scale."""
    y = _data(4, 6)
    z = torch.randn(4, 6, 2).double()
    joint = _linear(6).log_joint(y, z).detach()
    for i in range(4):
        mean, covariance, evidence = dense(SYSTEM, y[i])
        posterior = torch.distributions.MultivariateNormal(mean, covariance)
        expected = evidence + posterior.log_prob(z[i].reshape(-1))
        torch.testing.assert_close(joint[i], expected, rtol=1e-5, atol=1e-5)


def test_draws_are_those_of_the_smoother_and_forecasts_those_of_the_filter() -> None:
    """Missing frames and pixels. 300 independent chains, their last draws: |z| < 6 each."""
    num_ahead, y = 3, _data(4, 6, seed=1)
    model = _linear(6)
    posterior = sample_posterior(
        model,
        y,
        kernel=HMC(6),
        num_chains=300,
        warmup_steps=80,
        num_samples=10,
        seed=0,
        progress=False,
    )
    draws = posterior.get_samples(group_by_chain=True)["z"][:, -1]  # (300, n, T, d)
    ahead = forecast(model, draws, num_ahead, seed=0)
    assert ahead.latents.shape == (300, 4, num_ahead, 2)
    # Frames ahead are missing frames: the smoother of a longer sequence knows them.
    longer = torch.cat([y, torch.full((4, num_ahead, 3), torch.nan).double()], 1)
    moments = smooth(SYSTEM, longer)
    every = torch.cat([draws, ahead.latents], 2) - moments.mean
    assert _z_score(every) < 6
    products = every[..., :, None] * every[..., None, :]
    assert _z_score(products - moments.covariance) < 6
    torch.testing.assert_close(
        ahead.frames, ahead.latents @ SYSTEM.loadings.T + SYSTEM.bias, rtol=1e-6, atol=1e-6
    )


def test_intervals_of_forecasts_of_data_cover_what_came() -> None:
    """θ known, 300 sequences: three standard errors of the share, of sequences.

    A false failure has a probability of about 0.8 %; the seeds are fixed.
    """
    num_ahead, whole = 3, _linear(9).generate(300, seed=2, noise=True)
    past = torch.where(_data(300, 6).isnan(), torch.nan, whole[:, :6])
    future = whole[:, 6:]
    model = _linear(6)
    posterior = sample_posterior(
        model, past, kernel=HMC(6), warmup_steps=80, num_samples=150, seed=0, progress=False
    )
    draws = posterior.get_samples()["z"]
    ahead = forecast(model, draws, num_ahead, seed=0, noise=True)
    assert torch.equal(ahead.latents, forecast(model, draws, num_ahead, seed=0).latents)
    assert ahead.frames.shape == (600, *future.shape)
    rank = (ahead.frames < future).double().mean(0)
    for level in (0.5, 0.8, 0.95):
        inside = ((rank - 0.5).abs() < level / 2).double().flatten(1).mean(1)
        error = inside.std() / len(inside) ** 0.5
        assert abs(inside.mean() - level) < 3 * error
    signal = forecast(model, draws, num_ahead, seed=0).frames
    without = ((signal < future).double().mean(0) - 0.5).abs() < 0.4
    assert without.double().mean() < 0.77


def _z_score(draws: Tensor) -> float:
    error = draws.mean(0) / (draws.std(0) / len(draws) ** 0.5)
    return float(error.abs().max())


def _gap(model: GeneratorModel, optimum: LinearSystem, y: Tensor) -> float:
    """Return by how much the model's likelihood lies below the optimum's, nats a sequence."""
    best = smooth(optimum, y).log_likelihood.mean()
    return float(best - smooth(_system(model), y).log_likelihood.mean())


@pytest.mark.parametrize("learn", [True, "closed form"])
def test_joint_learning_reaches_the_optimum_of_em(learn: Literal[True, "closed form"]) -> None:
    """A and Q learned in the loop from incomplete sequences, from a start that is far off.

    The gap of the likelihood falls from over 2 to below .03 nats a sequence of 15 frames. A is
    known up to a change of basis: its eigenvalues agree with EM's to .03, a third of the
    statistical error (about .1) of 40 such sequences.
    """
    y = _data(40, 15, seed=3)
    optimum = SYSTEM
    likelihoods = []
    for _ in range(50):
        likelihoods.append(float(smooth(optimum, y).log_likelihood.mean()))
        optimum = em_step(optimum, y)
    rises = torch.tensor(likelihoods).diff()
    assert float(rises.min()) > -1e-9
    assert float(rises[-1]) < 1e-3

    start = LinearSystem(
        0.3 * torch.eye(2).double(),
        torch.eye(2).double(),
        0.3 * torch.randn(3, 2).double(),
        torch.zeros(3).double(),
        1.0,
    )
    model = _linear(15, learn=learn, system=start)
    assert _gap(model, optimum, y) > 2
    abp = AlternatingBackProp(
        model,
        kernel=HMC(8),
        inference_steps=1,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-2),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, 400),
        batch_size=len(y),
        num_chains=4,
    )
    abp.fit(y, epochs=400, seed=0, progress=False)
    assert -1e-3 < _gap(model, optimum, y) < 0.03
    learned = torch.linalg.eigvals(_system(model).transition)
    expected = torch.linalg.eigvals(optimum.transition)
    distance = min(
        float((learned - expected).abs().max()), float((learned.flip(0) - expected).abs().max())
    )
    assert distance < 0.03
