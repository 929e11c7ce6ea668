"""The Gauss-Newton metric's kernels: exact where the model is linear."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import GaussNewton, RiemannianMALA, bind
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp

from ...conftest import linear_gaussian


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _stiff() -> tuple[Tensor, Tensor]:
    """Loadings and data whose posterior has standard deviations from .01 to 1."""
    weight = torch.randn(6, 3, dtype=torch.double) * torch.tensor([50.0, 1.0, 0.01]).double()
    y = torch.where(torch.rand(400, 6) < 0.7, torch.randn(400, 6), torch.nan).double()
    return weight, y


@pytest.mark.parametrize("step_size", [0.1, 0.7, 1.0])
def test_nothing_is_rejected_on_a_linear_model(step_size: float) -> None:
    weight, y = _stiff()
    linear = linear_gaussian(weight, scale=0.5)
    potential = bind(linear.model, y)
    kernel = RiemannianMALA(step_size)
    state = kernel.init(torch.randn(400, 3, dtype=torch.double), potential)
    for _ in range(3):
        state, info = kernel.step(state, potential, _generator())
        # The energies are some thousands of nats, σ is kept in single precision.
        torch.testing.assert_close(
            info.acceptance_rate, torch.ones_like(info.acceptance_rate), rtol=0, atol=1e-3
        )


def test_a_full_step_draws_the_exact_posterior_of_a_linear_model() -> None:
    weight, y = _stiff()
    linear = linear_gaussian(weight, scale=0.5)
    potential = bind(linear.model, y)
    kernel = RiemannianMALA(1.0)
    start = kernel.init(10 * torch.randn(400, 3, dtype=torch.double), potential)
    state, _ = kernel.step(start, potential, _generator())
    mean, covariance = linear.posterior(y, ~y.isnan())
    root = torch.linalg.cholesky(torch.linalg.inv(covariance))
    white = (root.mT @ (state.position - mean)[:, :, None])[:, :, 0]
    # 1,200 standard normals: mean and mean square within five standard errors.
    assert abs(float(white.mean())) < 5 / 1200**0.5
    assert float((white**2).mean()) == pytest.approx(1.0, abs=5 * (2 / 1200) ** 0.5)


def test_its_proposal_is_reversible() -> None:
    """The log ratio of a move and of the move back are opposite: no acceptance enters."""
    model = GeneratorModel(Normal(2), mlp(2, (5,), hidden=(6,)), Gaussian(0.3)).double()
    potential = bind(model, torch.randn(50, 5).double())
    kernel = RiemannianMALA(0.6)
    here = torch.randn(50, 2, dtype=torch.double)
    there = here + 0.1 * torch.randn(50, 2, dtype=torch.double)

    def log_density(origin: Tensor, target: Tensor) -> Tensor:
        _, gradient = potential(origin)
        metric = potential.metric(origin)
        drift = 1 - (1 - 0.6**2) ** 0.5
        mean = origin - drift * torch.linalg.solve(metric, gradient[:, :, None])[:, :, 0]
        proposal = torch.distributions.MultivariateNormal(mean, precision_matrix=metric / 0.36)
        return proposal.log_prob(target)

    expected = (
        potential(there)[0]
        - potential(here)[0]
        + log_density(here, there)
        - log_density(there, here)
    )
    state = kernel.init(here, potential)
    noise = _noise_between(kernel, state, there)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "explainaway.inference.kernels.riemannian.standard_normal",
            lambda generator, like: noise,
        )
        _, info = kernel.step(state, potential, _generator())
    torch.testing.assert_close(info.energy_error, expected, rtol=1e-6, atol=1e-6)


def _noise_between(kernel: RiemannianMALA, state: object, there: Tensor) -> Tensor:
    position, factor = state.position, state.factor  # type: ignore[attr-defined]
    drift = 1 - (1 - float(kernel.step_size) ** 2) ** 0.5
    mean = position - drift * state.natural_gradient  # type: ignore[attr-defined]
    return (factor.mT @ (there - mean)[:, :, None])[:, :, 0] / float(kernel.step_size)


def test_gauss_newton_solves_a_linear_model_in_one_step() -> None:
    """Ridge regression: (WᵀW/σ² + I)⁻¹ Wᵀ(y - b)/σ²."""
    weight, y = _stiff()
    linear = linear_gaussian(weight, scale=0.5)
    potential = bind(linear.model, y)
    kernel = GaussNewton()
    state = kernel.init(torch.randn(400, 3, dtype=torch.double), potential)
    state, info = kernel.step(state, potential, _generator())
    mean, _ = linear.posterior(y, ~y.isnan())
    torch.testing.assert_close(state.position, mean, rtol=1e-4, atol=1e-5)
    assert info.accepted.all()


def test_gauss_newton_ends_at_the_ridge_solution_of_its_own_piece() -> None:
    """On a rectified network: z solves the regression on the piece's own loadings."""
    network = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 8))
    model = GeneratorModel(Normal(2), network, Gaussian(0.7)).double()
    y = torch.randn(60, 8, dtype=torch.double)
    potential = bind(model, y)
    kernel = GaussNewton()
    state = kernel.init(torch.zeros(60, 2, dtype=torch.double), potential)
    energies = [state.energy]
    for _ in range(60):
        state, _ = kernel.step(state, potential, _generator())
        energies.append(state.energy)
    assert all((b <= a).all() for a, b in itertools.pairwise(energies))
    z = state.position
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(lambda v: network(v[None])[0], row) for row in z]
    )
    offset = network(z).detach() - (jacobian @ z[:, :, None])[:, :, 0]
    precision = jacobian.mT @ jacobian / 0.49 + torch.eye(2)
    ridge = torch.linalg.solve(precision, jacobian.mT @ (y - offset)[:, :, None] / 0.49)[:, :, 0]
    at_ridge = ((z - ridge).abs() < 1e-4).all(1)
    # Where the minimum lies on a kink, between pieces, no piece holds its own solution.
    on_kink = (network[0](z).abs() < 1e-3).any(1)
    assert (at_ridge | on_kink).all()
    assert at_ridge.sum() > 10


def test_a_step_size_over_one_is_refused() -> None:
    for kernel in (RiemannianMALA, GaussNewton):
        with pytest.raises(ValueError, match=r"step_size must be at most 1, got 1\.5"):
            kernel(step_size=1.5)
