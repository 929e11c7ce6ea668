"""Dynamics fitted to latent sequences, the paper's synthesis and the linear baseline."""

from collections.abc import Callable

import pytest
import scipy.linalg
import torch
from torch import Tensor

from explainaway.models import (
    VAR,
    Gaussian,
    GeneratorModel,
    LinearDynamics,
    Normal,
    OverTime,
    Recurrent,
    dynamic_texture,
    forecast,
    mlp,
)
from explainaway.models.dynamics import (
    least_squares,
    stationary_covariance,
    synthesise,
    yule_walker,
)

TRANSITION = torch.tensor([[0.9, 0.6], [-0.2, 0.5]]).double()
INNOVATION = torch.tensor([[1.0, 0.3], [0.3, 2.0]]).double()


def _sequences(num: int, length: int) -> Tensor:
    draws: Tensor = VAR(2, length, TRANSITION, INNOVATION).double().distribution().sample((num,))
    return draws


@pytest.mark.parametrize("radius", [0.0, 0.5, 0.999])
def test_doubling_solves_the_stationary_equation(radius: float) -> None:
    """Against scipy's solver; to be exact also with a memory of thousands of steps."""
    transition = torch.randn(4, 4).double()
    transition *= radius / torch.linalg.eigvals(transition).abs().max()
    root = torch.randn(4, 4).double()
    got = stationary_covariance(transition, root @ root.T)
    expected = scipy.linalg.solve_discrete_lyapunov(transition.numpy(), (root @ root.T).numpy())
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("estimator", [least_squares, yule_walker])
def test_fits_recover_the_dynamics(estimator: Callable[[Tensor], LinearDynamics]) -> None:
    """20,000 pairs: vec(A) has covariance S⁻¹ ⊗ Q / pairs; |z| < 6 (2e-9 each).

    Yule-Walker's share of 1/T towards zero is below its statistical error here.
    """
    fitted = estimator(_sequences(10, 2_000))
    inverse = torch.linalg.inv(stationary_covariance(TRANSITION, INNOVATION))
    error = (INNOVATION.diagonal()[:, None] * inverse.diagonal()[None] / 20_000).sqrt()
    assert float(((fitted.transition - TRANSITION) / error).abs().max()) < 6
    spread = INNOVATION.diagonal()
    error = ((spread[:, None] * spread[None] + INNOVATION**2) / 20_000).sqrt()
    assert float(((fitted.innovation - INNOVATION) / error).abs().max()) < 6


def test_least_squares_minimises_the_squares() -> None:
    z = torch.randn(3, 8, 2).double()
    fitted = least_squares(z)

    def squares(transition: Tensor) -> float:
        return float(((z[:, 1:] - z[:, :-1] @ transition.T) ** 2).sum())

    best = squares(fitted.transition)
    for _ in range(20):
        assert squares(fitted.transition + 0.01 * torch.randn(2, 2).double()) > best
    assert float(fitted.innovation.trace()) == pytest.approx(best / 21)


def test_prior_states_are_ridge_regression() -> None:
    latents = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double().cumsum(0)
    made = least_squares(latents, prior_states=12.0)
    before, after = latents[:-1], latents[1:]
    prior = 12.0 * latents.mT @ latents / 40
    expected = torch.linalg.solve(before.mT @ before + prior, before.mT @ after).mT
    torch.testing.assert_close(made.transition, expected)
    # Q is the residuals' covariance, with what the states that are added say of the transition.
    residual = after - before @ expected.mT
    innovation = (residual.mT @ residual + expected @ prior @ expected.mT) / 39
    torch.testing.assert_close(made.innovation, innovation)


def test_prior_states_draw_a_prior_in_closed_form_towards_zero() -> None:
    """For long sequences the stationary start does not matter, and it is ridge regression."""
    latents = VAR(2, 400, transition=0.8).distribution().sample((1,))
    for prior_states in (2.0, 100.0, 800.0):
        prior = VAR(2, 7, transition=0.0, learn="closed form", prior_states=prior_states)
        prior = prior.of_length(400)
        prior.expect_examples(1)
        for _ in range(30):
            prior.closed_form_step(latents)
        expected = least_squares(latents[0], prior_states).transition
        torch.testing.assert_close(prior.transition, expected, atol=0.05, rtol=0)


def test_yule_walker_is_stable_where_least_squares_is_not() -> None:
    growing = torch.tensor(1.1).double() ** torch.arange(12)[None, :, None]
    sequence = growing * torch.randn(1, 1, 2).double() + 0.01 * torch.randn(1, 12, 2).double()
    radius = [
        float(torch.linalg.eigvals(fit(sequence).transition).abs().max())
        for fit in (least_squares, yule_walker)
    ]
    assert radius[0] > 1
    assert radius[1] < 1
    fitted = yule_walker(sequence)
    assert VAR(2, 5, *fitted).transition.allclose(fitted.transition.float(), atol=1e-4)


def test_yule_walker_keeps_the_covariance_of_the_latents() -> None:
    z = _sequences(3, 20)
    fitted = yule_walker(z)
    flat = z.flatten(0, 1)
    torch.testing.assert_close(stationary_covariance(*fitted), flat.T @ flat / len(flat))


def test_two_stages_put_a_var_above_the_same_network() -> None:
    """Frames as examples, then a fit to their latents, then sequences by the same network."""
    frames = GeneratorModel(Normal(2), mlp(2, (5,)), Gaussian(0.1))
    latents = _sequences(2, 30).float()
    fitted = yule_walker(latents)
    model = GeneratorModel(VAR(2, 30, *fitted), OverTime(frames.network), frames.observation)
    torch.testing.assert_close(model.decode(latents), frames.decode(latents))
    assert model.generate(3, seed=0).shape == (3, 30, 5)


def test_synthesis_forgets_its_start() -> None:
    """After the burn-in the states' covariance is the stationary one, averaged over 2,000 runs.

    A frame is a state here. |z| < 6: 2e-9 for each of three moments; without a burn-in the first
    frame is N(0, I) and fails by far.
    """
    model = GeneratorModel(Normal(2), mlp(2, 2, hidden=()), Gaussian(1.0)).double()
    with torch.no_grad():
        model.network[0].weight.copy_(torch.eye(2))
        model.network[0].bias.zero_()
    dynamics = LinearDynamics(0.5 * TRANSITION, INNOVATION)
    expected = stationary_covariance(*dynamics)

    def largest(burn_in: int) -> float:
        first = torch.stack(
            [synthesise(model, dynamics, 1, seed, burn_in)[0] for seed in range(2_000)]
        )
        products = first[:, :, None] * first[:, None, :]
        error = (products.mean(0) - expected) / (products.std(0) / 2_000**0.5)
        return float(error.abs().max())

    assert largest(15) < 6
    assert largest(0) > 10
    frames = synthesise(model, dynamics, 7, seed=1)
    assert frames.shape == (7, 2)
    assert torch.equal(frames, synthesise(model, dynamics, 7, seed=1))


@pytest.mark.parametrize("prior", [VAR(2, 5), Recurrent(2, 5)], ids=["VAR", "Recurrent"])
def test_forecasts_are_reproduced_and_take_any_number_of_draws(prior: VAR | Recurrent) -> None:
    model = GeneratorModel(prior, OverTime(mlp(2, (3, 4))), Gaussian(0.3, torch.tanh))
    latents = torch.randn(6, 7, 5, 2)
    before = torch.random.get_rng_state()
    ahead = forecast(model, latents, 4, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert ahead.latents.shape == (6, 7, 4, 2)
    assert ahead.frames.shape == (6, 7, 4, 3, 4)
    longer = GeneratorModel(prior.of_length(4), model.network, model.observation)
    assert torch.equal(ahead.frames, longer.decode(ahead.latents).detach())
    assert torch.equal(ahead.frames, forecast(model, latents, 4, seed=1).frames)
    assert not torch.equal(ahead.frames, forecast(model, latents, 4, seed=2).frames)


def test_a_linear_video_is_its_dynamic_texture() -> None:
    """Frames that lie in a plane are kept; the forecast is A^k z_T in that plane."""
    z = _sequences(1, 400)[0]
    loadings = torch.randn(2, 3, 4).double()
    frames = torch.tensordot(z, loadings, 1) + 0.7
    texture = dynamic_texture(frames, 2)
    torch.testing.assert_close(texture.decode(texture.states), frames)
    basis = texture.basis.flatten(1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(2).double())
    eigenvalues = torch.linalg.eigvals(texture.dynamics.transition).abs().sort().values
    expected = torch.linalg.eigvals(least_squares(z - z.mean(0)).transition).abs().sort().values
    torch.testing.assert_close(eigenvalues, expected)
    centred = z - z.mean(0)
    power = torch.linalg.matrix_power(least_squares(centred).transition, 3)
    torch.testing.assert_close(
        texture.forecast(3)[2],
        torch.tensordot(power @ centred[-1], loadings, 1) + frames.mean(0),
    )
