"""Hidden pixels of real images, with and without what the residuals of their neighbours tell."""

from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits

from explainaway.inference import AlternatingBackProp, sample_posterior
from explainaway.models import (
    ColoredGaussian,
    GeneratorModel,
    LowRankGaussian,
    Masked,
    Normal,
    Observation,
    mlp,
)

NOISES: dict[str, Callable[[], Observation]] = {
    "colored": lambda: ColoredGaussian((8, 8), 0.35, torch.tanh, padding=4, white_batches=100),
    "low rank": lambda: LowRankGaussian((8, 8), 4, 0.35, torch.tanh, white_batches=100),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOISES)
def test_hidden_pixels_are_better_predicted_with_their_neighbours_residuals(name: str) -> None:
    """Digits, half of the pixels hidden, 4 latents; squared errors of 400 images, in pairs.

    The hidden pixels' root mean square error fell from .190 to .183 of the range (coloured) and
    from .195 to .188 (low rank). Five standard errors would be luck with a probability of 3e-7.
    """
    images = torch.tensor(load_digits().images[:400] / 8 - 1, dtype=torch.float32)
    hidden = torch.rand(images.shape) < 0.5
    y = torch.where(hidden, torch.nan, images)
    model = GeneratorModel(Normal(4), mlp(4, (8, 8), hidden=(64,)), Masked(NOISES[name]()))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    abp = AlternatingBackProp(model, inference_steps=5, batch_size=100, optimizer=optimizer)
    abp.fit(y, epochs=60, progress=False)
    posterior = sample_posterior(
        model, y, num_chains=1, warmup_steps=100, num_samples=20, progress=False
    )
    draws = posterior.get_samples()["z"]
    with torch.no_grad():
        signal = model.reconstruct(draws).mean(0)
        completed = model.reconstruct(draws, observed=y).mean(0)
    before, after = (
        ((image - images).square() * hidden).flatten(1).sum(1) for image in (signal, completed)
    )
    gain = before - after
    assert gain.mean() / (gain.std() / len(gain) ** 0.5) > 5
