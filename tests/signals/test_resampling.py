"""Noise, quilts and grains of an exemplar."""

import numpy as np
import pytest
from numpy.typing import NDArray

from explainaway.resampling import overlapped_grains, phase_noise, quilted


def _blocks(seed: int = 0, side: int = 48) -> NDArray[np.float64]:
    return (
        np.random.default_rng(seed).normal(size=(3, side // 4, side // 4)).repeat(4, 1).repeat(4, 2)
    )


def test_noise_has_the_exemplars_mean_and_covariances_in_space() -> None:
    """E of the noise's periodogram is that of the faded exemplar: within five standard errors."""
    rng = np.random.default_rng(0)
    # An autoregression of order 1, 0.9 between neighbours, in two channels with correlation 0.6.
    white = rng.normal(size=(2, 4000))
    white[1] = 0.6 * white[0] + 0.8 * white[1]
    exemplar = np.zeros((2, 4000))
    for t in range(1, 4000):
        exemplar[:, t] = 0.9 * exemplar[:, t - 1] + white[:, t]
    exemplar += 3.0
    made = np.stack([phase_noise(exemplar, (8000,), seed) for seed in range(40)])

    def moments(signals: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = signals - exemplar.mean(1, keepdims=True)
        lagged = [
            (centred[..., i, :-1] * centred[..., j, 1:]).mean(-1) for i in (0, 1) for j in (0, 1)
        ]
        same = [(centred[..., i, :] * centred[..., j, :]).mean(-1) for i, j in ((0, 0), (0, 1))]
        return np.stack([*lagged, *same], -1)

    drawn = moments(made)
    error = drawn.std(0) / np.sqrt(len(drawn))
    # The exemplar's own moments, but for what fading its edges weighs less (a twentieth or so).
    assert (abs(drawn.mean(0) - moments(exemplar)) < 5 * error + 0.1 * moments(exemplar)).all()
    assert made.mean() == pytest.approx(exemplar.mean(), abs=1e-9)


def test_noise_of_an_impulse_is_white() -> None:
    """It is the white noise itself, scaled: by the impulse over the root of the faded area."""
    exemplar = np.zeros((1, 32, 32))
    exemplar[0, 16, 16] = 1.0
    made = phase_noise(exemplar, (64, 96), 0)[0]
    white = np.random.default_rng(0).normal(size=(64, 96))
    white = np.roll(white - white.mean(), (16, 16), (0, 1))
    # The impulse's own mean, 1/1024, is taken off, which low frequencies feel.
    assert np.corrcoef(made.ravel(), white.ravel())[0, 1] > 0.98
    window = 0.5 - 0.5 * np.cos(np.pi * (np.arange(4) + 0.5) / 4)
    area = (24 + 2 * (window**2).sum()) ** 2
    assert made.std() == pytest.approx(white.std() / np.sqrt(area), rel=0.02)


def test_a_quilt_is_made_of_the_exemplars_pixels() -> None:
    exemplar = _blocks()
    made = quilted(exemplar, (70, 90), block=12, seed=0)
    assert made.shape == (3, 70, 90)
    colours = {tuple(pixel) for pixel in exemplar.reshape(3, -1).T}
    assert {tuple(pixel) for pixel in made.reshape(3, -1).T} <= colours


def test_a_periodic_texture_is_quilted_without_a_seam() -> None:
    rows, columns = np.mgrid[:40, :40]
    exemplar = np.stack([(rows % 8 + 10 * (columns % 5)).astype(float)] * 3)
    made = quilted(exemplar, (80, 80), block=20, seed=0)
    assert (made[:, 8:] == made[:, :-8]).all()
    assert (made[:, :, 5:] == made[:, :, :-5]).all()


def test_grains_keep_the_power_and_copy() -> None:
    """The mean square of 200,000 normal samples has a relative error of 0.3 %, of grains 2 %."""
    exemplar = np.random.default_rng(0).normal(size=(1, 20000))
    made = overlapped_grains(exemplar, 200000, 500, seed=0)
    assert made.shape == (1, 200000)
    assert (made**2).mean() == pytest.approx((exemplar**2).mean(), rel=0.08)
    same = overlapped_grains(exemplar, 200000, 500, seed=0)
    assert (made == same).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phase_noise(np.zeros((1, 10)), (5,), 0), r"size must be at least.*\(10,\)"),
        (lambda: phase_noise(np.zeros((1, 10)), (20, 20), 0), "size must be at least"),
        (lambda: quilted(np.zeros((3, 20, 20)), (40, 40), 21, 0), "block must lie between 6 and"),
        (lambda: overlapped_grains(np.zeros((1, 10)), 20, 5, 0), "grain must be even"),
        (lambda: overlapped_grains(np.zeros((1, 10)), 20, 12, 0), "at most the exemplar's 10"),
    ],
)
def test_bad_sizes_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
