"""Stationary noise: what its spectrum means, and what is particular to the solver."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, bind
from explainaway.models import ColoredGaussian, Gaussian, GeneratorModel, Masked, Normal, mlp
from explainaway.models.distributions.covariances import ObservedCirculant
from explainaway.models.distributions.covariances.conjugate_gradients import observed_solve
from explainaway.models.observations import colored_gaussian

from .test_correlated_noise import amplitude, stationary


@pytest.mark.parametrize("size", [128, 0], ids=["by matrices", "matrix-free"])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("shape", [(2, 9), (2, 4, 5)])
def test_a_white_spectrum_is_independent_noise(
    shape: tuple[int, ...], padding: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colored_gaussian, "DENSE_CELLS", size)
    output, y = torch.randn(2, 5, *shape, dtype=torch.double)
    mask = torch.rand(y.shape) < 0.5
    white = ColoredGaussian(shape[1:], 0.3, torch.tanh, padding=padding).double()
    independent = Gaussian(0.3, torch.tanh).double()
    for observed in (None, mask):
        got = white.distribution(output, mask=observed).log_prob(y)
        expected = independent.distribution(output, mask=observed).log_prob(y)
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        white.complete(output, y, mask), independent.complete(output, y, mask)
    )
    assert white.link_range() == independent.link_range() == (-1.0, 1.0)


def test_the_autocovariance_is_that_of_the_cells() -> None:
    observation = ColoredGaussian((4, 6), amplitude(4, 6))
    dense = stationary(observation.spectrum, (4, 6))
    by_lag = observation.autocovariance.flatten().double().numpy()
    np.testing.assert_allclose(by_lag, dense[:, 0], rtol=1e-5, atol=1e-6)


def test_padding_lets_opposite_edges_be_independent() -> None:
    near, far = ColoredGaussian(8, amplitude(8)), ColoredGaussian(8, amplitude(24), padding=16)
    correlations = [
        ObservedCirculant(noise.spectrum, (8,)).matrix()[0, -1] / noise.autocovariance[0]
        for noise in (near, far)
    ]
    assert correlations[0] > 0.5
    assert abs(correlations[1]) < 1e-3


def test_channels_share_a_spectrum_or_have_their_own() -> None:
    shared = ColoredGaussian((4, 5), amplitude(4, 5))
    own = ColoredGaussian((4, 5), torch.stack([amplitude(4, 5), 2 * amplitude(4, 5)]))
    y = torch.randn(3, 2, 4, 5)
    scaled = y * torch.tensor([1.0, 2.0])[:, None, None]
    a = shared.distribution(torch.zeros_like(y)).log_prob(y)
    b = own.distribution(torch.zeros_like(y)).log_prob(scaled) + 20 * np.log(2)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.2, 0.8])
def test_a_large_image_agrees_with_the_dense_formula(dtype: torch.dtype, share: float) -> None:
    """Both blocks of the determinant; 24 x 24 cells, a condition number of 21."""
    shape = (24, 24)
    observation = ColoredGaussian(shape, amplitude(*shape)).to(dtype)
    output = torch.zeros(2, *shape, dtype=dtype, requires_grad=True)
    y = torch.randn(2, *shape, dtype=dtype)
    mask = torch.rand(y.shape) < share
    got = observation.distribution(output, mask=mask).log_prob(y)
    (gradient,) = torch.autograd.grad(got.sum(), output)
    dense = stationary(observation.spectrum, shape)
    tolerance = {"rtol": 2e-5, "atol": 2e-4} if dtype == torch.float32 else {"rtol": 1e-10}
    for i in range(2):
        o = mask[i].flatten().nonzero()[:, 0].numpy()
        block, residual = dense[np.ix_(o, o)], y[i].flatten()[o].double().numpy()
        expected = scipy.stats.multivariate_normal(np.zeros(len(o)), block).logpdf(residual)
        np.testing.assert_allclose(got[i].detach().double().numpy(), expected, **tolerance)
        np.testing.assert_allclose(
            gradient[i].flatten()[o].double().numpy(),
            np.linalg.solve(block, residual),
            **{"atol": 1e-10, **tolerance},
        )
        assert not gradient[i][~mask[i]].any()


def test_a_solve_does_not_depend_on_the_signals_beside_it() -> None:
    """One that takes a single iteration, beside one that takes many."""
    spectrum = amplitude(16, 16).double() ** 2
    residual = torch.randn(3, 16, 16, dtype=torch.double)
    observed = torch.rand(3, 16, 16) < 0.5
    observed[0] = True
    together = observed_solve(residual, spectrum, observed, 2)
    for i in range(3):
        alone = observed_solve(residual[i : i + 1], spectrum, observed[i : i + 1], 2)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i : i + 1], b, rtol=1e-13, atol=1e-13)


def test_conditional_draws_have_the_conditional_mean_and_covariance() -> None:
    """|z| < 6 for 16 means and 136 second moments: false failure 3e-7."""
    num, shape = 20_000, (4, 4)
    spectrum = amplitude(6, 6).double() ** 2
    residual, mask = torch.randn(shape, dtype=torch.double), torch.rand(shape) < 0.4
    noise = ObservedCirculant(spectrum, shape, mask.expand(num, *shape))
    generator = torch.Generator().manual_seed(0)
    draws = noise.draw_given(residual.expand(num, *shape), generator)[:, :4, :4].flatten(1)
    c = torch.tensor(stationary(spectrum, shape))
    o = mask.flatten().nonzero()[:, 0]
    gain = torch.linalg.solve(c[o][:, o], c[o]).mT
    mean, covariance = gain @ residual.flatten()[o], c - gain @ c[o]
    torch.testing.assert_close(draws[:, o], residual.flatten()[o].expand(num, -1))
    hidden = (~mask).flatten().nonzero()[:, 0]
    variance = covariance.diagonal()[hidden]
    centred = (draws - mean)[:, hidden]
    assert float((centred.mean(0) / variance.sqrt()).abs().max()) * num**0.5 < 6
    expected = covariance[hidden][:, hidden]
    sd = (variance[:, None] * variance + expected**2).sqrt()
    score = (centred.mT @ centred / num - expected) / sd * num**0.5
    assert float(score.abs().max()) < 6


def _noise(num: int, observation: ColoredGaussian) -> Tensor:
    return observation.distribution(torch.zeros(num, *observation.shape)).sample()


@pytest.mark.parametrize("padding", [0, 6])
def test_the_closed_form_reaches_the_spectrum_from_half_of_the_cells(padding: int) -> None:
    """By the autocovariance, over the variance. White noise is .6 off at lag 1; 400 batches of 200
    signals left .010 and .027."""
    truth = ColoredGaussian(12, amplitude(12 + padding), padding=padding)
    learned = ColoredGaussian(12, 0.8, padding=padding, white_batches=0)
    output = torch.zeros(200, 12)
    for _ in range(400):
        y = _noise(200, truth)
        mask = torch.rand(y.shape) < 0.5
        learned.closed_form_step(output, torch.where(mask, y, 0.0), mask)
    error = (learned.autocovariance - truth.autocovariance)[:7] / truth.autocovariance[0]
    assert float(error.abs().max()) < 0.06


def test_the_noise_stays_white_for_as_many_batches_as_it_should() -> None:
    truth, learned = ColoredGaussian(8, amplitude(8)), ColoredGaussian(8, 0.5, white_batches=3)
    start = learned.spectrum
    for batch in range(4):
        torch.testing.assert_close(learned.spectrum, start, rtol=0, atol=0)
        learned.closed_form_step(torch.zeros(50, 8), _noise(50, truth))
        assert torch.equal(learned.spectrum, start) == (batch < 3)


def test_the_spectrum_stays_symmetric_and_above_its_floor() -> None:
    """A single signal without noise at most frequencies would have a spectrum of zero."""
    learned = ColoredGaussian((6, 5), 1.0, nugget=0.1, white_batches=0)
    for _ in range(5):
        y = torch.randn(1, 1, 1).expand(1, 6, 5)
        learned.closed_form_step(torch.zeros_like(y), y)
    spectrum = learned.spectrum
    assert float(spectrum.min()) >= 0.1
    mirrored = spectrum.flip((0, 1)).roll((1, 1), (0, 1))
    assert torch.equal(spectrum, mirrored)


def test_the_closed_form_leaves_the_global_random_state_alone() -> None:
    learned = ColoredGaussian(8, white_batches=0)
    y, mask = torch.randn(4, 8), torch.rand(4, 8) < 0.5
    before = torch.get_rng_state()
    learned.closed_form_step(torch.zeros_like(y), y, mask)
    assert torch.equal(torch.get_rng_state(), before)


def test_learning_follows_the_residual_and_repeats_its_bits() -> None:
    spectra = []
    for _ in range(2):
        torch.manual_seed(1)
        observation = ColoredGaussian(6, 0.5, white_batches=2)
        model = GeneratorModel(Normal(2), mlp(2, (6,)), Masked(observation))
        y = model.generate(20, seed=0, noise=True)
        y[torch.rand(y.shape) < 0.3] = torch.nan
        torch.rand(len(spectra) + 1)  # the global random state does not enter
        AlternatingBackProp(model, inference_steps=2, batch_size=5).fit(
            y, epochs=2, seed=3, progress=False
        )
        spectra.append(observation.spectrum)
    assert torch.equal(*spectra)
    assert float((spectra[0] - 0.25).abs().max()) > 0.01


def test_a_learned_spectrum_is_seen_by_a_potential_that_was_captured_before() -> None:
    observation = ColoredGaussian((12, 12), 0.5, white_batches=0)
    model = GeneratorModel(Normal(2), mlp(2, (12, 12)), Masked(observation))
    y = torch.randn(3, 12, 12)
    y[0, :6], y[1, 6:] = torch.nan, torch.nan
    potential, z = bind(model, y), torch.randn(3, 2)
    before = potential(z)[0]
    observation.closed_form_step(torch.zeros(3, 12, 12), y.nan_to_num(), ~y.isnan())
    after = potential(z)[0]
    torch.testing.assert_close(after, bind(model, y)(z)[0])
    assert float((before - after).abs().min()) > 0.1
