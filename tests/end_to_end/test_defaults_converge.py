"""``sample_posterior(model, y)`` with nothing else given converges, every example of it."""

import numpy as np
import pytest
import torch
from torch import nn

from explainaway.data import digits
from explainaway.inference import HMC, AlternatingBackProp, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

from ..conftest import linear_gaussian


def test_on_a_linear_model_of_ten_latents() -> None:
    """1,500 draws of 4 chains, 50 examples."""
    linear = linear_gaussian(torch.randn(30, 10), scale=0.3)
    y = torch.randn(50, 10) @ linear.weight.T + 0.3 * torch.randn(50, 30)
    y = torch.where(torch.rand(y.shape) < 0.5, y, torch.nan)
    summary = sample_posterior(linear.model, y, progress=False).summary()
    assert np.percentile(summary.rhat, 99) < 1.01
    assert summary.problems() == [] or summary.worst_rhat < 1.015


@pytest.mark.slow
def test_on_digits_with_most_of_their_pixels_hidden() -> None:
    """A network learned from such digits, 60 others; 1,500 draws of 4 chains."""
    data = digits(0.7, 0, None)
    train, test = (
        torch.from_numpy(np.where(seen, images, np.float32(np.nan)))
        for images, seen in ((data.train, data.train_observed), (data.test, data.test_observed))
    )
    network = mlp(16, (8, 8), hidden=(128, 128), activation=nn.GELU)
    model = GeneratorModel(Normal(16), network, Masked(Gaussian(0.35, torch.tanh)))
    AlternatingBackProp(
        model,
        HMC(4),
        inference_steps=1,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        batch_size=120,
        num_chains=2,
    ).fit(train, epochs=60, progress=False)
    summary = sample_posterior(model, test[:60], progress=False).summary()
    assert np.percentile(summary.rhat, 99) < 1.01
    assert np.percentile(summary.ess, 1) > 400
