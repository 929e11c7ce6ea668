"""Noise of a few factors: how it is learned."""

import pytest
import torch

from explainaway.inference import AlternatingBackProp
from explainaway.models import GeneratorModel, LowRankGaussian, Masked, Normal, mlp


def _covariance(observation: LowRankGaussian) -> torch.Tensor:
    loadings = observation.loadings.detach().flatten(1)
    return loadings.mT @ loadings + torch.diag(observation.variance.detach().flatten())


def test_it_starts_nearly_white() -> None:
    covariance = _covariance(LowRankGaussian((20, 30), rank=3, scale=0.5))
    off = covariance - torch.diag(covariance.diagonal())
    assert float(off.abs().max()) < 0.2 * 0.25
    assert float(off.square().mean().sqrt()) < 0.01 * 0.25
    torch.testing.assert_close(covariance.diagonal().mean(), torch.tensor(0.25), rtol=0.02, atol=0)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_the_closed_form_reaches_the_covariance(share: float) -> None:
    """By its entries, over the largest: .86 off at the start; 400 batches left .039 and .021."""
    truth = LowRankGaussian(6, rank=1, scale=0.5, learn_covariance=False)
    truth.loadings.copy_(torch.tensor([[1.0, -1.0, 0.5, 0.8, -0.3, 1.2]]))
    learned = LowRankGaussian(6, rank=1, scale=0.5, white_batches=0)
    output = torch.zeros(200, 6)
    for _ in range(400):
        y = truth.distribution(output).sample()
        mask = torch.rand(y.shape) < share
        learned.closed_form_step(output, torch.where(mask, y, 0.0), None if share == 1 else mask)
    error = (_covariance(learned) - _covariance(truth)).abs().max()
    assert float(error) < 0.08 * float(_covariance(truth).max())


def test_a_cell_that_was_never_observed_keeps_its_noise() -> None:
    learned = LowRankGaussian(4, rank=2, white_batches=0)
    before = learned.loadings.clone(), learned.variance.clone()
    mask = torch.tensor([True, False, True, True]).expand(30, 4)
    learned.closed_form_step(torch.zeros(30, 4), torch.randn(30, 4), mask)
    assert torch.equal(learned.loadings[:, 1], before[0][:, 1])
    assert torch.equal(learned.variance[1], before[1][1])
    assert not torch.equal(learned.variance[0], before[1][0])


def test_the_variance_stays_above_its_floor() -> None:
    learned = LowRankGaussian(4, rank=1, nugget=0.1, white_batches=0)
    for _ in range(200):
        y = torch.randn(30, 1) * torch.ones(4)
        learned.closed_form_step(torch.zeros(30, 4), y)
    assert float(learned.variance.min()) >= 0.1
    assert float(learned.variance.max()) < 0.11


@pytest.mark.parametrize("learn", [True, "closed form"])
def test_it_learns_in_the_loop(learn: bool) -> None:
    observation = LowRankGaussian(6, 2, 0.5, learn_covariance=learn, white_batches=1)
    model = GeneratorModel(Normal(2), mlp(2, (6,)), Masked(observation))
    y = model.generate(20, seed=0, noise=True)
    y[torch.rand(y.shape) < 0.3] = torch.nan
    before = _covariance(observation)
    AlternatingBackProp(model, inference_steps=2, batch_size=5).fit(y, epochs=2, progress=False)
    after = _covariance(observation)
    assert after.isfinite().all()
    assert not torch.allclose(before, after)
