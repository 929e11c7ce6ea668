import json
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.common.rows import Rows
from examples.faces.data import load_images, mirrored, split
from examples.faces.decoders import WarpedLinear
from examples.faces.principal import Principal
from examples.faces.scores import Reconstruction, noise_of, scores
from examples.faces.vae import VAE, learn
from explainaway.data import MissingDataError


def test_parts_are_disjoint_and_the_same_for_a_seed() -> None:
    images = torch.arange(30.0).reshape(30, 1, 1, 1)
    parts = split(images, 20, 4, 6, seed=1)
    assert [len(part) for part in parts] == [20, 4, 6]
    assert torch.cat(parts).flatten().sort().values.equal(torch.arange(30.0))
    assert split(images, 20, 4, 6, seed=1).test.equal(parts.test)
    with pytest.raises(ValueError, match="there are 30"):
        split(images, 20, 4, 16, seed=1)


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"faces64\.npz"):
        load_images(tmp_path, 64)


def test_scores_of_normal_predictions_are_those_of_their_definitions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(200, 3, 20, 20, generator=generator, dtype=torch.double)
    truth = mean + 0.5 * torch.randn(mean.shape, generator=generator, dtype=torch.double)
    right = scores(truth, Reconstruction(mean, torch.tensor(0.3)), 0.4)
    # 240,000 independent pixels; four standard errors of a share, and of a mean of known spread.
    for level, share in zip((0.5, 0.8, 0.95), right.coverage.values(), strict=True):
        assert share == pytest.approx(level, abs=4 * (level * (1 - level) / truth.numel()) ** 0.5)
    assert right.mae == pytest.approx(0.5 * np.sqrt(2 / np.pi) / 2, rel=0.01)
    assert right.rmse == pytest.approx(0.25, rel=0.01)
    # Of N(m, s²) scored by its own draws the expected score is s / sqrt(pi).
    assert right.crps == pytest.approx(0.5 / np.sqrt(np.pi) / 2, rel=0.01)
    for noise in (0.01, 1.0):
        assert scores(truth, Reconstruction(mean, torch.tensor(0.3)), noise).crps > right.crps


def test_noise_is_what_the_signal_does_not_explain() -> None:
    truth = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    noise = noise_of(truth, Reconstruction(torch.zeros_like(truth), torch.tensor(0.6)))
    # The relative standard error of each variance is sqrt(2 / 20,000) = 1 %.
    torch.testing.assert_close(noise, torch.full((2,), 0.8), rtol=0.05, atol=0)


def test_decoder_and_encoder_start_at_pca() -> None:
    faces = load_images(Path(), 16, made_up=40)
    principal = Principal(mirrored(faces), 6)
    expected = principal.reconstruct(faces).mean
    z = principal.scores(faces)
    torch.testing.assert_close(principal.projection()(faces.flatten(1)), z, rtol=1e-3, atol=1e-3)
    linear = principal.linear()(z).reshape(faces.shape)
    torch.testing.assert_close(linear.clamp(-1, 1), expected, rtol=1e-3, atol=1e-3)
    start = WarpedLinear(principal.linear(), principal.shape)(z)
    # The displacements start at a hundredth of their usual size, not at zero.
    assert (start - linear).abs().mean() < 0.02 * (faces - faces.mean(0)).abs().mean()


def test_least_absolute_error_is_less_absolute_error() -> None:
    faces = load_images(Path(), 16, made_up=40)
    principal = Principal(faces[:30], 3)
    test = faces[30:]
    squares, absolute = (
        (way(test).mean - test).flatten(1)
        for way in (principal.reconstruct, principal.reconstruct_by_absolute)
    )
    assert (absolute.abs().mean(1) <= squares.abs().mean(1)).all()
    assert absolute.abs().mean() < 0.995 * squares.abs().mean()


def test_a_row_is_made_once_and_says_how(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.json"
    Rows(path).add({"d": 3}, {"error": 0.123456789, "many": [1, 2.0]})
    rows = Rows(path)
    found = rows.find({"d": 3})
    assert found is not None
    assert found["error"] == 0.12346
    assert {"command", "commit", "versions", "machine"} <= found["made"].keys()
    assert rows.find({"d": 4}) is None
    assert len(json.loads(path.read_text())) == 1


def test_a_vae_that_was_stopped_goes_on(tmp_path: Path) -> None:
    faces = load_images(Path(), 16, made_up=20)

    def fresh() -> VAE:
        torch.manual_seed(0)
        principal = Principal(faces, 4)
        decoder = WarpedLinear(principal.linear(), principal.shape)
        return VAE(decoder, 4, 16, 4, 0.25, principal.projection())

    vae, path = fresh(), tmp_path / "vae.pt"
    epochs = learn(vae, faces, 0.3, path, seed=0)
    again = fresh()
    assert learn(again, faces, 0.3, path, seed=0) == epochs
    assert all(a.equal(b) for a, b in zip(again.parameters(), vae.parameters(), strict=True))
    assert learn(again, faces, 0.6, path, seed=0) > epochs
    assert not all(a.equal(b) for a, b in zip(again.parameters(), vae.parameters(), strict=True))
