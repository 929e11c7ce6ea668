"""Distances of textures and sounds, and what is copied."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from explainaway.resampling import phase_noise
from explainaway.sound_distance import nearest_excerpts, sound_distances, sound_statistics
from explainaway.texture_distance import TextureDistance, nearest_patches

RATE = 8000


def _discs(seed: int, side: int = 256) -> Tensor:
    """Return discs of two colours at random places: edges, which noise has not."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(100, 2, generator=generator) * side
    grid = torch.stack(torch.meshgrid(*[torch.arange(float(side))] * 2, indexing="ij"), -1)
    inside = ((grid[:, :, None] - places).norm(dim=-1) < 9).any(-1).float()
    shade = torch.tensor([0.9, 0.2, -0.5])[:, None, None]
    return inside * shade + 0.05 * torch.randn(3, side, side, generator=generator)


def test_an_image_is_at_no_distance_from_itself() -> None:
    distance = TextureDistance(_discs(0))
    assert distance.between(*[distance.moments(_discs(0))] * 2).abs().max() < 1e-5


def test_the_distance_of_normal_features_is_frechets() -> None:
    """Of moments with diagonal covariances: squares of the differences of means and deviations."""
    distance = TextureDistance(_discs(0))
    one = distance.moments(_discs(0))
    shifted = one._replace(
        means=one.means + 0.3, covariances=4 * torch.diag_embed(torch.ones_like(one.means))
    )
    unit = one._replace(covariances=torch.diag_embed(torch.ones_like(one.means)))
    features = one.means.shape[1]
    expected = features * (0.09 + 1) / one.covariances.diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(distance.between(unit, shifted), expected)


def test_another_image_of_the_texture_is_nearer_than_noise_of_its_spectrum() -> None:
    exemplar, other = _discs(0), _discs(1)
    made = phase_noise(exemplar.double().numpy(), (256, 256), 0)
    distance = TextureDistance(exemplar)
    reference = distance.moments(exemplar)
    texture = distance.between(distance.moments(other), reference)
    noise = distance.between(distance.moments(torch.tensor(made).float()), reference)
    assert (noise[:2] > 3 * texture[:2]).all()


def test_patches_that_are_copied_are_found() -> None:
    exemplar = _discs(0)
    shifted = exemplar.roll((40, 70), (1, 2))[:, 40:, 70:]
    assert nearest_patches(shifted, exemplar, side=16, count=30).max() < 1e-5
    unrelated = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(3, 80, 80, generator=torch.Generator().manual_seed(1))
    nearest = nearest_patches(unrelated, noise, side=16, count=30)
    # Unrelated pixels differ by twice the variance; of 4,225 places the best is not far below.
    deviation = math.sqrt(8 / (16 * 16 * 3))
    assert (nearest > 2 - 6 * deviation).all()
    assert (nearest < 2).all()


def test_louder_sounds_differ_in_level_alone() -> None:
    sound = np.random.default_rng(0).normal(size=16000)
    levels, *rest = sound_distances(
        sound_statistics(sound, RATE), sound_statistics(2 * sound, RATE)
    )
    assert levels == pytest.approx((20 * math.log10(2)) ** 2)
    assert max(rest) < 1e-12


def test_a_tone_has_its_level_in_its_band() -> None:
    time = np.arange(16000) / RATE
    levels = sound_statistics(np.sin(2 * np.pi * 1000 * time), RATE).levels
    # Half cosines: the squares of neighbouring filters add up to one.
    assert 10 * np.log10((10 ** (levels / 10)).sum()) == pytest.approx(
        10 * math.log10(0.5), abs=0.02
    )
    assert (levels > -40).sum() <= 2


def test_what_beats_is_found_in_its_modulation_band_and_across_bands() -> None:
    time = np.arange(4 * RATE) / RATE
    white = np.random.default_rng(0).normal(size=len(time))
    steady = sound_statistics(white, RATE)
    beating = sound_statistics(white * (1 + 0.9 * np.sin(2 * np.pi * 8 * time)), RATE)
    # 8 Hz lies in the third band, of 6 to 12.5 Hz.
    assert (beating.modulations.mean(1) - steady.modulations.mean(1)).argmax() == 2
    assert beating.correlations.mean() > steady.correlations.mean() + 0.5


def test_excerpts_that_are_copied_are_found() -> None:
    rng = np.random.default_rng(0)
    sound, other = rng.normal(size=5000), rng.normal(size=5000)
    assert nearest_excerpts(sound[700:3000], sound, 400).max() < 1e-9
    # Unrelated samples: 2, less what the best of 4,601 places has, over an excerpt's own power.
    nearest = nearest_excerpts(other, sound, 400)
    assert (nearest > 1.3).all()
    assert (nearest < 2.0).all()


def test_what_is_too_small_is_named() -> None:
    with pytest.raises(ValueError, match=r"exemplar must have shape \(3, h, w\), of at least 128"):
        TextureDistance(torch.zeros(3, 100, 200))
    with pytest.raises(ValueError, match="side must lie between 1 and 20"):
        nearest_patches(torch.zeros(3, 20, 30), torch.zeros(3, 40, 40), side=24)
    with pytest.raises(ValueError, match=r"sound must have shape \(t,\), at least half a second"):
        sound_statistics(np.zeros(1000), RATE)
    with pytest.raises(ValueError, match="rate must be at least 4000"):
        sound_statistics(np.zeros(1000), 1000)
    with pytest.raises(ValueError, match="length must lie between 1 and 100"):
        nearest_excerpts(np.zeros(100), np.zeros(200), 101)
