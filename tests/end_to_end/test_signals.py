"""What the experiments on textures and sounds are made of."""

from pathlib import Path

import numpy as np
import pytest
import torch

from examples.signals.data import made_up_sound, made_up_texture, texture
from examples.signals.generator import Recipe, learn
from examples.signals.sound_scores import SoundScores
from examples.signals.synthesis import in_blocks, made_by, with_spectrum
from examples.signals.texture_scores import TextureScores
from explainaway.data import MissingDataError
from explainaway.models import sound_deconvnet


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_the_spectrum_becomes_the_exemplars(scale: float) -> None:
    """Low tones are a quarter of white noise: what is too loud is filtered, the rest is added."""
    generator = torch.Generator().manual_seed(0)
    exemplar, other = torch.randn(2, 1, 20000, generator=generator)
    spectrum = torch.fft.rfft(torch.cat([other, other], 1))
    spectrum[:, 10001:] = 0
    made = with_spectrum(exemplar, scale * torch.fft.irfft(spectrum), seed=1)
    assert made.shape == (1, 40000)
    power = torch.fft.rfft(made).abs().square() / 40000
    # Smoothed powers vary by a third, and so do gains; what is found is cut at what is wanted.
    assert power[:, 1:10000].mean() == pytest.approx(1.0, rel=0.15)
    assert power[:, 10010:].mean() == pytest.approx(1.0, rel=0.15)
    if scale > 1:
        kept = torch.fft.rfft(made)[:, 1:10000]
        cosine = (kept * spectrum[:, 1:10000].conj()).sum().abs() / (
            kept.norm() * spectrum[:, 1:10000].norm()
        )
        assert cosine > 0.85


def test_blocks_are_of_the_exemplars_latents() -> None:
    for latents in (torch.randn(2, 60), torch.randn(2, 14, 14)):
        made = in_blocks(latents, seed=0)
        assert made.shape == (2, *[2 * size for size in latents.shape[1:]])
        cells = {tuple(cell) for cell in latents.flatten(1).T.tolist()}
        assert {tuple(cell) for cell in made.flatten(1).T.tolist()} <= cells
        assert made.unique().numel() > latents.numel() / 4


def test_scores_tell_more_of_the_same_from_something_else() -> None:
    image = made_up_texture(256)
    scores = TextureScores(image)
    tiled = image.repeat(1, 2, 2)
    same, other = scores(tiled), scores(torch.rand(3, 512, 512) - 0.5)
    assert same["distance"] == pytest.approx(0.5, abs=0.35)
    assert same["copied"] > 0.8
    assert other["distance"] > 10
    assert other["copied"] == 0
    sound = made_up_sound(24000)
    heard = SoundScores(sound)
    assert heard(sound.repeat(1, 2))["distance"] < 0.7
    steady = torch.randn(1, 48000, generator=torch.Generator().manual_seed(0)) / 4
    assert heard(steady)["distance"] > 1.5
    assert np.isclose(heard.of_halves()["distance"], 1)


@pytest.mark.parametrize("learn_prior", [False, True])
def test_a_generator_makes_twice_the_length(tmp_path: Path, learn_prior: bool) -> None:
    """Under both priors; a run that is at its end gives the same again, costs too."""
    recipe = Recipe(
        width=2,
        latent_channels=2,
        num_layers=2,
        noise=0.3,
        iterations=3,
        steps=2,
        rate=1e-3,
        batch_norm=False,
        learn_prior=learn_prior,
    )
    sound = made_up_sound(6000)
    first, again = (
        learn(sound, sound_deconvnet, 10, recipe, tmp_path / "run.pt", 0, "cpu") for _ in range(2)
    )
    assert torch.equal(first.explained, again.explained)
    assert first.numbers == again.numbers
    made = made_by(first, sound, seed=0)
    assert {one.shape for one in made.values()} == {(1, 12000)}


def test_a_missing_exemplar_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"holds no pictures.*textures/gravel\.png"):
        texture(tmp_path, "gravel")
