"""What holds for every kind of correlated Gaussian noise, against dense float64 formulas."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyro
import pytest
import scipy.stats
import torch
from torch import Tensor

from explainaway.inference import bind
from explainaway.models import (
    ColoredGaussian,
    GeneratorModel,
    LowRankGaussian,
    Masked,
    MultivariateGaussian,
    Normal,
    mlp,
)
from explainaway.models.observations import colored_gaussian
from explainaway.models.observations.correlated import CorrelatedGaussian

NUM = 4


class Noise(NamedTuple):
    """An observation, one example's shape, and the covariance of its flattened cells."""

    observation: CorrelatedGaussian
    shape: tuple[int, ...]
    covariance: np.ndarray


def amplitude(*torus: int) -> Tensor:
    """Return a smooth standard deviation at each frequency."""
    axes = torch.meshgrid(*[torch.fft.fftfreq(size) for size in torus], indexing="ij")
    return (0.05 + torch.exp(-20 * sum(axis**2 for axis in axes))).sqrt()


def stationary(spectrum: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Return the covariance of a window's cells, entry by entry from the autocovariance."""
    by_lag = np.fft.ifftn(spectrum.detach().double().numpy()).real
    cells = np.array(list(np.ndindex(*shape)))
    lags = (cells[:, None] - cells[None]) % by_lag.shape
    dense: np.ndarray = by_lag[tuple(np.moveaxis(lags, -1, 0))]
    return dense


def _colored(
    shape: tuple[int, ...], padding: int = 0, channels: int = 0, own: bool = False
) -> Noise:
    scale = amplitude(*(size + padding for size in shape))
    if own:
        scale = torch.stack([scale * (i + 1) for i in range(channels)])
    observation = ColoredGaussian(shape, scale, learn_spectrum=True, padding=padding).double()
    spectra = (
        observation.spectrum
        if own
        else observation.spectrum.expand(max(channels, 1), *observation.torus)
    )
    blocks = [stationary(spectrum, shape) for spectrum in spectra]
    event = (channels, *shape) if channels else shape
    return Noise(observation, event, np.asarray(torch.block_diag(*map(torch.tensor, blocks))))


def _low_rank() -> Noise:
    observation = LowRankGaussian((3, 4), 2, amplitude(3, 4), learn_covariance=True).double()
    with torch.no_grad():
        observation.loadings.copy_(torch.randn(2, 3, 4))
    loadings = observation.loadings.detach().flatten(1)
    dense = loadings.mT @ loadings + torch.diag(observation.variance.detach().flatten())
    return Noise(observation, (3, 4), dense.numpy())


def _dense() -> Noise:
    root = torch.randn(5, 5, dtype=torch.double)
    matrix = root @ root.mT + 0.1 * torch.eye(5, dtype=torch.double)
    return Noise(MultivariateGaussian(matrix), (5,), matrix.numpy())


NOISES: dict[str, Callable[[], Noise]] = {
    "signal": lambda: _colored((7,)),
    "image": lambda: _colored((4, 5)),
    "padded image": lambda: _colored((4, 5), padding=2),
    "signals of several channels": lambda: _colored((6,), padding=3, channels=2, own=True),
    "image of several channels": lambda: _colored((3, 4), channels=2),
    "low rank": _low_rank,
    "dense": _dense,
}
SIZES = {"by matrices": 128, "matrix-free": 0}
CASES = [
    pytest.param((name, size), id=f"{name}, {size}")
    for name in NOISES
    for size in SIZES
    if size == "by matrices" or name not in ("low rank", "dense")
]


@pytest.fixture(params=CASES)
def noise(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Noise:
    name, size = request.param
    monkeypatch.setattr(colored_gaussian, "DENSE_CELLS", SIZES[size])
    return NOISES[name]()


def data(noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
    """Return an output, data and masks: one of everything, one of nothing, the others random."""
    output, y = torch.randn(2, NUM, *noise.shape, dtype=torch.double)
    mask = torch.rand(NUM, *noise.shape) < 0.6
    mask[0], mask[1] = True, False
    return output, y, mask


def dense_log_prob(noise: Noise, residual: Tensor, mask: Tensor) -> Tensor:
    expected = []
    for row, seen in zip(residual.detach().flatten(1).numpy(), mask.flatten(1), strict=True):
        o = seen.nonzero()[:, 0].numpy()
        normal = scipy.stats.multivariate_normal
        block = noise.covariance[np.ix_(o, o)]
        expected.append(normal(np.zeros(len(o)), block).logpdf(row[o]) if len(o) else 0.0)
    return torch.tensor(np.array(expected))


def test_density_is_scipys(noise: Noise) -> None:
    output, y, _ = data(noise)
    everything = torch.ones_like(y, dtype=torch.bool)
    got = noise.observation.distribution(output).log_prob(y)
    expected = dense_log_prob(noise, y - output, everything)
    torch.testing.assert_close(got.detach(), expected, rtol=1e-10, atol=1e-10)


def test_density_of_the_observed_cells_is_scipys(noise: Noise) -> None:
    output, y, mask = data(noise)
    got = noise.observation.distribution(output, mask=mask).log_prob(y)
    expected = dense_log_prob(noise, y - output, mask)
    torch.testing.assert_close(got.detach(), expected, rtol=1e-10, atol=1e-10)


def test_hidden_cells_are_predicted_as_by_the_dense_formula(noise: Noise) -> None:
    output, y, mask = data(noise)
    expected = y.clone().flatten(1)
    for i, seen in enumerate(mask.flatten(1)):
        residual = (y - output)[i].flatten().numpy()
        o, h = seen.nonzero()[:, 0].numpy(), (~seen).nonzero()[:, 0].numpy()
        c = noise.covariance
        gain = c[np.ix_(h, o)] @ np.linalg.solve(c[np.ix_(o, o)], residual[o])
        expected[i, h] = output[i].flatten()[h] + torch.tensor(gain)
    got = Masked(noise.observation).complete(output, y, mask).detach()
    torch.testing.assert_close(got, expected.reshape(y.shape), rtol=1e-10, atol=1e-10)
    assert torch.equal(got[mask], y[mask])
    assert torch.equal(noise.observation.complete(output, y), y)


def test_what_stands_in_a_hidden_cell_does_not_matter(noise: Noise) -> None:
    output, y, mask = data(noise)
    absurd = torch.where(mask, y, 1e6)
    made = noise.observation.distribution(output, mask=mask)
    torch.testing.assert_close(made.log_prob(y), made.log_prob(absurd), rtol=0, atol=0)
    a, b = (noise.observation.complete(output, value, mask) for value in (y, absurd))
    assert torch.equal(a, b)


def test_nothing_observed_leaves_the_prior(noise: Noise) -> None:
    model = GeneratorModel(Normal(2), mlp(2, noise.shape), Masked(noise.observation)).double()
    y = torch.zeros(3, *noise.shape, dtype=torch.double)
    y[0] = torch.nan
    potential = bind(model, y)
    z = torch.randn(1, 2, dtype=torch.double)
    energy, gradient = potential.on(potential.data.select(torch.tensor([0])))(z)
    torch.testing.assert_close(energy, -Normal(2).distribution().log_prob(z))
    torch.testing.assert_close(gradient, z)


@pytest.mark.parametrize("masked", [False, True])
def test_density_gradients_are_those_of_finite_differences(noise: Noise, masked: bool) -> None:
    output, y, mask = data(noise)
    parameters = dict(noise.observation.named_parameters())

    def log_prob(value: Tensor, *learned: Tensor) -> Tensor:
        for name, tensor in zip(parameters, learned, strict=True):
            noise.observation._parameters[name] = tensor  # type: ignore[assignment]
        made = noise.observation.distribution(value, mask=mask if masked else None)
        return made.log_prob(y)

    leaves = [value.detach().clone().requires_grad_() for value in parameters.values()]
    inputs = (output.requires_grad_(), *leaves)
    assert torch.autograd.gradcheck(log_prob, inputs, fast_mode=True)


def test_second_derivatives_are_those_of_the_dense_formula(noise: Noise) -> None:
    output, y, mask = data(noise)
    o = mask[2].flatten().nonzero()[:, 0].numpy()

    def energy(flat: Tensor) -> Tensor:
        made = noise.observation.distribution(flat.reshape(1, *noise.shape), mask=mask[2:3])
        return -made.log_prob(y[2:3])[0]

    expected = np.zeros_like(noise.covariance)
    expected[np.ix_(o, o)] = np.linalg.inv(noise.covariance[np.ix_(o, o)])
    got = torch.autograd.functional.hessian(energy, output[2].flatten())
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-8, atol=1e-8)


def test_the_metric_is_that_of_the_dense_formula(noise: Noise) -> None:
    _, y, mask = data(noise)
    model = GeneratorModel(Normal(2), mlp(2, noise.shape), Masked(noise.observation)).double()
    z = torch.randn(NUM, 2, dtype=torch.double)
    got = bind(model, y, mask=mask).metric(z)
    for i, seen in enumerate(mask.flatten(1)):
        jacobian = torch.autograd.functional.jacobian(
            lambda latent: model.network(latent[None]).flatten(), z[i]
        )[seen].numpy()
        o = seen.nonzero()[:, 0].numpy()
        information = np.linalg.inv(noise.covariance[np.ix_(o, o)])
        expected = torch.eye(2).double() + torch.tensor(jacobian.T @ information @ jacobian)
        torch.testing.assert_close(got[i], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("masked", [False, True])
def test_a_captured_graph_gives_the_same_numbers(noise: Noise, masked: bool) -> None:
    """Warnings are errors here: a model that cannot be captured warns."""
    _, y, mask = data(noise)
    wrapped = Masked(noise.observation) if masked else noise.observation
    model = GeneratorModel(Normal(2), mlp(2, noise.shape), wrapped).double()
    potential = bind(model, y, mask=mask if masked else None)
    for _ in range(2):
        z = torch.randn(NUM, 2, dtype=torch.double)
        energy, gradient = potential(z)
        moved = z.clone().requires_grad_()
        expected = -model.log_joint(y, moved, mask=mask if masked else None)
        torch.testing.assert_close(energy, expected.detach(), rtol=1e-10, atol=1e-10)
        of_moved = torch.autograd.grad(expected.sum(), moved)[0]
        torch.testing.assert_close(gradient, of_moved, rtol=1e-9, atol=1e-9)


def test_draws_have_the_mean_and_covariance_that_they_should(noise: Noise) -> None:
    """|z| < 6 for at most 300 second moments and 24 means: false failure 7e-7."""
    num = 20_000
    mask = torch.rand(num, *noise.shape) < 0.5  # what is hidden is drawn too
    output = torch.ones(num, *noise.shape, dtype=torch.double)
    made = noise.observation.distribution(output, mask=mask)
    assert torch.equal(made.mean, output)
    draws = made.rsample().detach().flatten(1) - 1
    expected = torch.tensor(noise.covariance)
    sd = (expected.diagonal()[:, None] * expected.diagonal() + expected**2).sqrt()
    score = (draws.mT @ draws / num - expected) / sd * num**0.5
    assert float(score.abs().max()) < 6
    mean = draws.mean(0) / expected.diagonal().sqrt() * num**0.5
    assert float(mean.abs().max()) < 6


def test_the_distribution_expands_and_is_valid(noise: Noise) -> None:
    output, y, mask = data(noise)
    with pyro.validation_enabled(True):
        made = noise.observation.distribution(output, mask=mask)
        several = made.expand((3, NUM))
        assert several.batch_shape == (3, NUM)
        assert several.event_shape == noise.shape
        assert several.sample((2,)).shape == (2, 3, NUM, *noise.shape)
        assert made.sample((2,)).shape == (2, NUM, *noise.shape)
        expected = made.log_prob(y).detach()
        torch.testing.assert_close(several.log_prob(y).detach(), expected.expand(3, NUM))
        assert made.support.event_dim == len(noise.shape)
