"""What the experiments on textures and sounds are made of."""

from pathlib import Path

import numpy as np
import pytest
import torch

from examples.signals.data import made_up_sound, made_up_texture, texture
from examples.signals.generator import in_blocks, lacking
from examples.signals.sound_scores import SoundScores
from examples.signals.texture_scores import TextureScores


def test_noise_adds_the_power_that_is_lacking() -> None:
    """A quarter of the power is there, at all frequencies: the rest is added."""
    exemplar, other = torch.randn(2, 1, 20000, generator=torch.Generator().manual_seed(0))
    made = 0.5 * torch.cat([other, other], 1)
    noise = lacking(exemplar, made, seed=1)
    assert noise.shape == made.shape
    # Means over 9 frequencies vary by a third, which is cut off at nothing lacking, on one side.
    assert noise.square().mean() == pytest.approx(0.75, rel=0.08)
    assert lacking(exemplar, 3 * made, seed=1).square().mean() < 0.05


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


def test_a_missing_exemplar_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data is the folder that holds textures/"):
        texture(tmp_path, "gravel")
