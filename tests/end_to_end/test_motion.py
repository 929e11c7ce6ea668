"""What Experiments 3 and 4 compare with, where the answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from examples.faces.features import by_pixels, by_random_network
from examples.motion.data import load_motion, num_known, seen_cells, table_of, video_of
from examples.motion.linear import (
    autoregression,
    choose_for_forecast,
    errors_ahead,
    iterative_pca,
    shrunk_last,
)
from examples.motion.scores import of_forecasts, of_synthesis
from examples.objects.grid import between
from explainaway.data import MissingDataError
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp


def test_parts_that_are_seen() -> None:
    video = load_motion(Path(), "made up", 16, made_up=True)
    assert video.shape == (64, 3, 16, 16)
    assert [num_known(length) for length in (128, 93, 50)] == [100, 73, 34]
    frames = seen_cells(video, "every second frame", 0)
    assert frames.flatten(1).all(1).tolist() == [True, False] * 32
    pixels = seen_cells(video, "half of the pixels", 0)
    # 16,384 pixels: four standard errors of a share of one half.
    assert float(pixels[:, 0].float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 16384**0.5)
    assert pixels[:, :1].expand(pixels.shape).equal(pixels)
    assert bool(pixels.any(0).all())
    assert video_of(table_of(video), video).equal(video)


def test_missing_videos_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"flag\.npz"):
        load_motion(tmp_path, "flag", 32)


def test_iterative_pca_fills_what_has_its_rank() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    holes = rng.random(table.shape) < 0.3
    made = iterative_pca(np.where(holes, np.nan, table), 2, iterations=200)
    np.testing.assert_allclose(made[holes], table[holes], atol=1e-3)


def test_ridge_regression_of_order_two_continues_a_wave() -> None:
    times = np.arange(80)[:, None]
    table = np.sin(times / 4 + np.arange(6)) + np.cos(times / 7) * np.arange(6)
    forecast = autoregression(table[:60], 4, 2, 1e-9, steps=10)
    assert errors_ahead(forecast, table, 60, 10) < 1e-6 * table.var()
    # From the last row alone two waves cannot be told apart by their phase: order 1 is worse.
    assert errors_ahead(autoregression(table[:60], 2, 1, 1e-9, 10), table, 60, 10) > 1e-3


def test_a_walk_is_repeated_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(80, 30))
    *_, of_walk = choose_for_forecast(noise.cumsum(0), 5)
    *_, of_noise = choose_for_forecast(noise, 5)
    assert of_walk >= 0.9
    assert of_noise == 0.0
    np.testing.assert_allclose(shrunk_last(np.zeros(30), 0.5)(noise, 2)[1], noise[-1] / 4)


def test_errors_and_ratios_are_those_of_their_definitions() -> None:
    target = torch.zeros(4, 10, 3, 2, 2)
    made = target.clone()
    made[:, 0], made[:, 9] = 0.2, -0.4
    found = of_forecasts(target, made)
    assert found["rmse 1"] == pytest.approx(0.1)
    assert found["mae 10"] == pytest.approx(0.2)
    assert found["rmse 1 to 10"] == pytest.approx((0.05 / 10) ** 0.5)
    video = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert of_synthesis(video, 2 * video + 1) == pytest.approx(
        {"contrast": 2, "speed": 2, "sharpness": 2}
    )


def test_random_features_see_what_components_of_pixels_leave_out() -> None:
    """Fine noise is small in 64 components of smooth images, and large in responses to filters."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(200, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=32, mode="bicubic")
    rough = smooth + 0.3 * torch.randn(smooth.shape, generator=generator)

    def shift(features: object) -> float:
        assert callable(features)
        one, other = features(smooth), features(rough)
        return float(np.linalg.norm((one - other).mean(0)) / np.sqrt(one.var(0).sum()))

    assert shift(by_random_network(smooth)) > 5 * shift(by_pixels(smooth))
    assert by_random_network(smooth)(rough).shape == (200, 64)


def test_ways_between_latents_are_great_circles() -> None:
    network = mlp(2, (2,), hidden=())
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2))
        network[0].bias.zero_()
    model = GeneratorModel(Normal(2), network, Gaussian(0.1))
    made = between(model, torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), steps=3)
    half = 2 * 0.5**0.5
    torch.testing.assert_close(made, torch.tensor([[[2.0, 0.0], [half, half], [0.0, 2.0]]]))
