import pytest
import torch
from torch import Tensor, nn

from explainaway.gaussian_fields import GaussianField
from explainaway.inference import GaussNewton, sample_posterior
from explainaway.kriging import stationary_noise
from explainaway.local_covariance import (
    learn_moments,
    localised,
    second_moments,
    stationary_matrix,
)
from explainaway.models import ColoredGaussian, GeneratorModel, Masked, Normal

SIDE = 8
CELLS = SIDE * SIDE


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _lags() -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    place = torch.stack([rows.flatten(), columns.flatten()], 1).float()
    return torch.cdist(place, place)


def _local_covariance() -> Tensor:
    """Return smooth cells in the middle, rough ones to both sides."""
    column = torch.arange(CELLS) % SIDE
    scale = torch.where((column - (SIDE - 1) / 2).abs() < SIDE / 4, 6.0, 0.7)
    square = scale[:, None] ** 2 + scale**2
    shape = 2 * scale[:, None] * scale / square
    # Paciorek & Schervish (2006): a covariance whose range varies is definite with this factor.
    return shape * torch.exp(-2 * _lags() ** 2 / square) + 0.02 * torch.eye(CELLS)


def _draws(covariance: Tensor, count: int, seed: int) -> Tensor:
    white = torch.randn(count, 1, CELLS, generator=_generator(seed))
    return (white @ torch.linalg.cholesky(covariance).mT).reshape(count, 1, SIDE, SIDE)


def _seen(count: int, share: float, seed: int) -> Tensor:
    return torch.rand(count, 1, SIDE, SIDE, generator=_generator(seed)) < share


def _by_hand(covariance: Tensor, y: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the covariance of the hidden cells of flat y (c, cells)."""
    c = covariance.double()
    gain = c[~seen][:, seen] @ c[seen][:, seen].inverse()
    return y[:, seen].double() @ gain.mT, c[~seen][:, ~seen] - gain @ c[seen][:, ~seen]


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_hidden_cells_have_their_conditional_moments(share: float) -> None:
    """With few cells observed and with many, which are two computations."""
    field = GaussianField(_local_covariance())
    y = torch.randn(4, 3, SIDE, SIDE, generator=_generator(0))
    observed = _seen(4, share, 1)
    made, variance = field.complete(y, observed), field.variance(observed)
    for image, filled, spread, cells in zip(y, made, variance, observed, strict=True):
        seen = cells.flatten()
        mean, covariance = _by_hand(field.covariance, image.flatten(1), seen)
        found = filled.flatten(1)
        torch.testing.assert_close(found[:, ~seen].double(), mean, rtol=1e-3, atol=1e-3)
        assert found[:, seen].equal(image.flatten(1)[:, seen])
        torch.testing.assert_close(
            spread.flatten()[~seen].double(), covariance.diagonal(), rtol=1e-3, atol=1e-4
        )
        assert not spread.flatten()[seen].any()


def test_draws_of_hidden_cells_have_the_conditional_moments() -> None:
    field, count = GaussianField(_local_covariance()), 4000
    y, observed = _draws(field.covariance, 1, 2), _seen(1, 0.4, 3)
    drawn = field.draw_given(
        y.expand(count, -1, -1, -1), observed.expand(count, -1, -1, -1), _generator(4)
    )
    seen = observed.flatten()
    mean, covariance = _by_hand(field.covariance, y[0].flatten(1), seen)
    hidden = drawn.flatten(1)[:, ~seen].double()
    deviation = covariance.diagonal().sqrt()
    # Some 40 cells, two moments each: five standard errors are missed by one seed in 20,000.
    assert float(((hidden.mean(0) - mean[0]) / deviation).abs().max()) < 5 / count**0.5
    assert float((hidden.std(0) / deviation - 1).abs().max()) < 5 / (2 * count) ** 0.5
    assert drawn.flatten(1)[:, seen].eq(y.flatten()[seen]).all()


@pytest.mark.parametrize(("seed", "over"), [(None, 1.15), (7, 1.1)])
def test_a_covariance_that_varies_is_learned_from_images_with_holes(
    seed: int | None, over: float
) -> None:
    """Its predictions are nearly those of the true one, and better than stationary ones.

    Draws come nearer to it than means, whose moments lack a variance.
    """
    truth = _local_covariance()
    y, observed = _draws(truth, 1500, 5), _seen(1500, 0.5, 6)
    noise = stationary_noise(y, observed, SIDE)
    stationary = stationary_matrix(noise)
    moments = learn_moments(y, observed, stationary, 3 * SIDE, 0.95, 8, seed)
    learned = localised(moments, stationary, SIDE, 3 * SIDE, 0.95)
    new, hidden = _draws(truth, 300, 8), ~_seen(300, 0.5, 9)
    error = {
        name: float((GaussianField(c).complete(new, ~hidden) - new)[hidden].square().mean())
        for name, c in {"true": truth, "learned": learned, "stationary": stationary}.items()
    }
    assert error["learned"] < over * error["true"]
    assert error["stationary"] > 1.2 * error["true"]


def test_blending_ends_at_the_stationary_covariance_and_stays_definite() -> None:
    images = torch.randn(5, 1, SIDE, SIDE, generator=_generator(10))
    moments, stationary = second_moments(images), torch.exp(-_lags())
    torch.testing.assert_close(localised(moments, stationary, SIDE, 4, 0.0), stationary)
    made = localised(moments, stationary, SIDE, 4, 0.9)
    torch.testing.assert_close(made[_lags() >= 4], 0.1 * stationary[_lags() >= 4])
    least = float(torch.linalg.eigvalsh(stationary)[0])
    assert float(torch.linalg.eigvalsh(made)[0]) > 0.099 * least


def test_mirror_images_count_as_images() -> None:
    images = torch.randn(5, 3, SIDE, SIDE, generator=_generator(11))
    both = torch.cat([images, images.flip(-1)])
    torch.testing.assert_close(second_moments(images), second_moments(both, mirror=False))


def test_it_is_the_posterior_of_a_generator_whose_latents_vary_over_the_image() -> None:
    """``sum of z_ij f_i t_j`` with coloured noise, sampled by the library, fills alike."""
    images = _draws(_local_covariance(), 3, 12)
    windows = (1 - 1.5 * (t := (_lags() / 20).clamp(max=1)) + 0.5 * t**3).double()
    values, vectors = torch.linalg.eigh(windows)
    window = (vectors * values.clamp(min=0).sqrt()).float().mT  # (cells, cells)
    weight = 0.6
    loadings = (images.flatten(1)[:, None] * window).flatten(0, 1) * (weight / len(images)) ** 0.5
    network = nn.Linear(len(loadings), CELLS, bias=False)
    with torch.no_grad():
        network.weight.copy_(loadings.mT)
    spectrum = torch.full((SIDE, SIDE), 0.3)
    spectrum[0, 0] = 3.0
    noise = ColoredGaussian((SIDE, SIDE), spectrum.sqrt() * 0.4**0.5, learn_spectrum=False)
    model = GeneratorModel(
        Normal(len(loadings)),
        nn.Sequential(network, nn.Unflatten(1, (1, SIDE, SIDE))),
        Masked(noise),
    )
    y, observed = _draws(_local_covariance(), 12, 13), _seen(12, 0.5, 14)
    holes = torch.where(observed, y, torch.nan)
    found = sample_posterior(
        model,
        holes,
        kernel=GaussNewton(),
        num_chains=1,
        warmup_steps=1,
        num_samples=1,
        accumulate={"signal": model.decode},
        progress=False,
    )
    signal = found.accumulated["signal"].mean
    filled = noise.complete(signal, y, observed)
    moments = second_moments(images, mirror=False)
    stationary = stationary_matrix(noise) / (1 - weight)
    field = GaussianField(localised(moments, stationary, SIDE, 20, weight))
    torch.testing.assert_close(filled, field.complete(y, observed), rtol=0, atol=1e-3)


def test_arguments_are_checked() -> None:
    eye = torch.eye(CELLS)
    with pytest.raises(ValueError, match="square matrix"):
        GaussianField(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="as many cells as the covariance, 64, got 16"):
        GaussianField(eye).variance(torch.ones(1, 1, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="observed must have shape"):
        GaussianField(eye).complete(torch.zeros(2, 1, SIDE, SIDE), _seen(1, 0.5, 0))
    with pytest.raises(ValueError, match="weight must be at least 0 and less than 1, got 1"):
        localised(eye, eye, SIDE, 4, 1.0)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        learn_moments(torch.zeros(1, 1, SIDE, SIDE), _seen(1, 0.5, 0), eye, 4, 0.5, 0)
    with pytest.raises(ValueError, match="reach must be positive, got 0"):
        localised(eye, eye, SIDE, 0, 0.5)
