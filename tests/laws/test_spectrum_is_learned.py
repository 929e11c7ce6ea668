"""Coloured noise around a linear generator, half of its cells hidden: everything is learned."""

from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from explainaway.inference import MALA, AlternatingBackProp
from explainaway.models import ColoredGaussian, Gaussian, GeneratorModel, Masked, Normal, mlp

LENGTH, LATENTS, EPOCHS = 16, 2, 150


class Simulated(NamedTuple):
    """Training and test signals with holes, and the autocovariance of their noise."""

    train: Tensor
    test: Tensor
    autocovariance: Tensor


def _simulated() -> Simulated:
    frequency = torch.fft.fftfreq(LENGTH)
    truth = ColoredGaussian(LENGTH, (0.02 + torch.exp(-60 * frequency**2)).sqrt() * 0.7)
    loadings = 1.5 * torch.randn(LATENTS, LENGTH)
    output = torch.randn(1000, LATENTS) @ loadings + torch.randn(LENGTH)
    y = truth.distribution(output).sample()
    y[torch.rand(y.shape) < 0.5] = torch.nan
    return Simulated(y[:600], y[600:], truth.autocovariance)


def _learned(y: Tensor, observation: Masked) -> GeneratorModel:
    torch.manual_seed(1)
    model = GeneratorModel(Normal(LATENTS), mlp(LATENTS, (LENGTH,), hidden=()), observation)
    abp = AlternatingBackProp(
        model,
        kernel=MALA(),
        inference_steps=5,
        batch_size=200,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.1),
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS),
    )
    abp.fit(y, epochs=EPOCHS, progress=False)
    return model


def _log_evidence(model: GeneratorModel, y: Tensor, covariance: np.ndarray) -> np.ndarray:
    """Return the exact log density of each row's observed cells."""
    linear = model.network[0]
    weight, bias = linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()
    whole = weight @ weight.T + covariance
    rows = []
    for row in y.double().numpy():
        o = ~np.isnan(row)
        normal = scipy.stats.multivariate_normal(bias[o], whole[np.ix_(o, o)])
        rows.append(normal.logpdf(row[o]))
    return np.array(rows)


@pytest.mark.slow
def test_the_learned_spectrum_is_that_of_the_noise_and_beats_white_noise() -> None:
    """The gain was 1.49 nats for the 8 observed cells of a row (1.53 with the true parameters), 17
    times the standard error of 400 paired rows; 8 times would be luck with probability 1e-15. The
    autocovariance ended .08 of the variance off."""
    data = _simulated()
    colored = ColoredGaussian(LENGTH, 0.7, white_batches=100)
    white = Gaussian(0.7, learn_scale="closed form")
    by_lag = [data.autocovariance, colored.autocovariance]
    models = [_learned(data.train, Masked(noise)) for noise in (colored, white)]
    lags = (np.arange(LENGTH)[:, None] - np.arange(LENGTH)) % LENGTH
    dense = [
        colored.autocovariance.double().numpy()[lags],
        float(white.scale) ** 2 * np.eye(LENGTH),
    ]
    gain = np.subtract(
        *(_log_evidence(m, data.test, c) for m, c in zip(models, dense, strict=True))
    )
    assert gain.mean() / (gain.std() / len(gain) ** 0.5) > 8
    start, end = (
        float((found - data.autocovariance).abs().max() / data.autocovariance[0])
        for found in (by_lag[1], colored.autocovariance)
    )
    assert start > 0.5
    assert end < 0.15
