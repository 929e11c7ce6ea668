import numpy as np
import pytest
import torch
from torch import Tensor

from explainaway.data import blocks_observed, square_observed
from explainaway.kriging import kriged, stationary_noise, tapered_autocovariance
from explainaway.models import ColoredGaussian

SIDE, REACH = 16, 6


def _covariance(lag: Tensor) -> Tensor:
    """Return a spherical covariance of variance 1 and range 4."""
    t = (lag / 4).clamp(max=1)
    return 1 - 1.5 * t + 0.5 * t**3


def _lags(torus: int) -> Tensor:
    lag = torch.arange(torus).minimum(torus - torch.arange(torus)).float()
    return torch.hypot(lag[:, None], lag)


def _fields(count: int, seed: int) -> Tensor:
    """Return draws (count, 1, SIDE, SIDE) of a field of that covariance."""
    torus = SIDE + REACH
    spectrum = torch.fft.fft2(_covariance(_lags(torus))).real.clamp(min=1e-4)
    white = torch.randn(count, 1, torus, torus, generator=torch.Generator().manual_seed(seed))
    filtered = torch.fft.ifft2(torch.fft.fft2(white) * spectrum.sqrt()).real
    return filtered[..., :SIDE, :SIDE].contiguous()


def _holes(count: int, seed: int) -> Tensor:
    return torch.from_numpy(blocks_observed(count, SIDE, 0.4, seed))[:, None]


def test_autocovariance_is_that_of_pairs_that_were_both_observed() -> None:
    field, observed = _fields(3, 0), _holes(3, 1)
    found = tapered_autocovariance(torch.where(observed, field, torch.nan), observed, REACH)
    for down, right in ((0, 0), (1, 0), (2, 3), (0, 5)):
        both = observed[..., down:, right:] & observed[..., : SIDE - down, : SIDE - right]
        products = field[..., down:, right:] * field[..., : SIDE - down, : SIDE - right]
        t = np.hypot(down, right) / REACH
        taper = 1 - 1.5 * t + 0.5 * t**3 if t < 1 else 0.0
        expected = float(products[both].mean()) * taper
        assert float(found[down, right]) == pytest.approx(expected, abs=1e-5)
        assert float(found[-down, -right]) == pytest.approx(expected, abs=1e-5)


def test_covariance_of_a_known_field_is_found_with_holes() -> None:
    field, observed = _fields(400, 0), _holes(400, 1)
    found = tapered_autocovariance(field, observed, REACH)
    t = (_lags(SIDE + REACH) / REACH).clamp(max=1)
    expected = _covariance(_lags(SIDE + REACH)) * (1 - 1.5 * t + 0.5 * t**3)
    # A field has about (SIDE / 4)² = 16 independent parts: 6,400 in all, a standard error of the
    # variance of sqrt(2 / 6,400) = .018.
    assert float((found - expected).abs().max()) < 4 * 0.018


def test_kriging_is_the_conditional_mean() -> None:
    field, observed = _fields(5, 2), _holes(5, 3)
    signal = torch.full_like(field, 0.3)
    noise = stationary_noise(_fields(100, 4), _holes(100, 5), REACH)
    made = kriged(noise, signal, field, observed, batch_size=2)
    cells = torch.arange(SIDE)
    rows, columns = (x.flatten() for x in torch.meshgrid(cells, cells, indexing="ij"))
    lag = (rows[:, None] - rows, columns[:, None] - columns)
    covariance = noise.autocovariance.double()[lag]
    for image, before, mean, seen in zip(made, field, signal, observed, strict=True):
        o = seen.flatten()
        residual = (before - mean).flatten()[o].double()
        weights = torch.linalg.solve(covariance[o][:, o], residual)
        expected = mean.flatten()[~o] + covariance[~o][:, o] @ weights
        torch.testing.assert_close(image.flatten()[~o].double(), expected, rtol=0, atol=1e-4)
        assert image.flatten()[o].equal(before.flatten()[o])


def test_kriging_beats_the_mean_by_what_theory_says() -> None:
    """Errors have the variance that the covariance gives them: Monte Carlo error below 5 %."""
    noise = stationary_noise(_fields(400, 6), torch.ones(400, 1, SIDE, SIDE).bool(), REACH)
    field = _fields(400, 7)
    hole = torch.ones(SIDE, SIDE, dtype=torch.bool)
    hole[7:9, 7:9] = False
    made = kriged(noise, torch.zeros_like(field), field, hole.expand(400, 1, -1, -1))
    cells = torch.arange(SIDE)
    rows, columns = (x.flatten() for x in torch.meshgrid(cells, cells, indexing="ij"))
    covariance = _covariance(torch.hypot(*((x[:, None] - x).float() for x in (rows, columns))))
    o = hole.flatten()
    known = torch.linalg.solve(covariance[o][:, o].double(), covariance[o][:, ~o].double())
    variance = covariance[~o][:, ~o].double() - covariance[~o][:, o].double() @ known
    error = (made - field)[..., ~hole].square().mean()
    # 400 fields of four correlated cells: a standard error of at most sqrt(2 / 400) = 7 %.
    assert float(error) == pytest.approx(float(variance.diagonal().mean()), rel=4 * 0.07)


def test_noise_is_a_stationary_observation_of_the_library() -> None:
    noise = stationary_noise(_fields(50, 8), _holes(50, 9), REACH)
    assert isinstance(noise, ColoredGaussian)
    assert noise.torus == (SIDE + REACH, SIDE + REACH)
    assert not list(noise.parameters())


def test_reach_is_checked() -> None:
    with pytest.raises(
        ValueError, match="reach must be between 1 and the smaller side, 16, got 17"
    ):
        stationary_noise(_fields(2, 0), _holes(2, 0), 17)


def test_blocks_hide_the_share_and_little_more() -> None:
    masks = blocks_observed(20, 64, 0.7, seed=3)
    hidden = 1 - masks.mean((1, 2))
    assert masks.shape == (20, 64, 64)
    assert (hidden >= 0.7).all()
    assert (hidden < 0.7 + 9 / 64**2).all()
    assert np.array_equal(masks, blocks_observed(20, 64, 0.7, seed=3))
    # Edges and corners are hidden as often as the rest: four standard errors of 20 masks.
    for part in (masks[:, 0], masks[:, :, -1]):
        assert 1 - part.mean() == pytest.approx(0.7, abs=4 * (0.7 * 0.3 / (20 * 64 / 3)) ** 0.5)
    with pytest.raises(ValueError, match=r"share must lie between 0 and 1, got 1\.5"):
        blocks_observed(1, 64, 1.5, seed=0)


def test_a_square_hides_its_area_wherever_it_lies() -> None:
    masks = square_observed(50, 64, 20, seed=[0, 1])
    assert ((~masks).sum((1, 2)) == 400).all()
    assert ((~masks).any(2).sum(1) == 20).all()
    assert len({mask.tobytes() for mask in masks}) > 40
    with pytest.raises(ValueError, match="hole must be between 1 and side = 64, got 65"):
        square_observed(1, 64, 65, seed=0)
