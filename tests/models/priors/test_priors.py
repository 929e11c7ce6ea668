"""Densities, moments and forms of the priors, against scipy and numerical integration."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from torch import Tensor, nn

from explainaway.inference import MALA, bind
from explainaway.models import (
    Empirical,
    Gaussian,
    GeneratorModel,
    Hierarchical,
    LatentEnergy,
    Mixture,
    NonNegative,
    Normal,
    Prior,
    Sparse,
    Supervised,
    linear,
    mlp,
)
from explainaway.models.priors import Laplace, StudentT

SCALE = torch.tensor([0.5, 2.0])
NAN = float("nan")


def _mixture() -> Mixture:
    prior = Mixture(2, num_components=3)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.0, 1.0, -0.5]))
        prior.log_scales.copy_(0.3 * torch.randn(3, 2))
    return prior


def _of_mixture(prior: Mixture, z: np.ndarray) -> np.ndarray:
    weights, means, scales = (
        value.detach().double().numpy() for value in (prior.weights, prior.means, prior.scales)
    )
    each = [
        w * scipy.stats.norm(m, s).pdf(z).prod(1)
        for w, m, s in zip(weights, means, scales, strict=True)
    ]
    return np.log(sum(each))


def _empirical() -> Empirical:
    covariances = torch.tensor([[[1.0, 0.6], [0.6, 0.5]], [[0.3, 0.0], [0.0, 2.0]]])
    return Empirical(torch.tensor([[0.0, 1.0], [2.0, -1.0]]), covariances, torch.tensor([3.0, 1.0]))


def _of_empirical(prior: Empirical, z: np.ndarray) -> np.ndarray:
    covariances = (prior.scale_tril @ prior.scale_tril.mT).double().numpy()
    return np.log(
        sum(
            w * scipy.stats.multivariate_normal(m, c).pdf(z)
            for w, m, c in zip([0.75, 0.25], prior.means.double().numpy(), covariances, strict=True)
        )
    )


def _log_cosh_power(z: np.ndarray, b: np.ndarray, e: float) -> np.ndarray:
    """Normalised by quadrature, not by the formula."""
    total = 0.0
    for j in range(2):
        width = e * b[j]

        def log_density(x: Any, width: float = width) -> Any:
            return -e * np.log(np.cosh(np.clip(x / width, -300, 300)))

        # Around 0, and beyond it, where it is exp(-|z| / b) up to a constant.
        inner, _ = scipy.integrate.quad(lambda x: np.exp(log_density(x)), 0, 20 * width)
        outer = np.exp(log_density(20 * width)) * b[j]
        total = total + log_density(z[:, j]) - np.log(2 * (inner + outer))
    return np.asarray(total)


Oracle = Callable[[Any, np.ndarray], np.ndarray]
DENSITIES: dict[str, tuple[Callable[[], Prior], Oracle]] = {
    "normal": (
        lambda: Normal(2, 1.0, SCALE),
        lambda _, z: scipy.stats.norm(1, SCALE).logpdf(z).sum(1),
    ),
    "laplace": (
        lambda: Laplace(2, SCALE),
        lambda _, z: scipy.stats.laplace(0, SCALE).logpdf(z).sum(1),
    ),
    "student": (
        lambda: StudentT(2, 3.0, SCALE),
        lambda _, z: scipy.stats.t(3.0, 0, SCALE).logpdf(z).sum(1),
    ),
    "sparse": (
        lambda: Sparse(2, SCALE, smoothing=0.3),
        lambda _, z: _log_cosh_power(z, SCALE.double().numpy(), 0.3),
    ),
    "hyperbolic secant": (
        lambda: Sparse(2, 2 / torch.pi, smoothing=1.0),
        lambda _, z: scipy.stats.hypsecant(0, 2 / np.pi).logpdf(z).sum(1),
    ),
    "exponential": (
        lambda: NonNegative(2, SCALE),
        lambda _, z: scipy.stats.expon(0, SCALE).logpdf(np.abs(z)).sum(1),
    ),
    "half-normal": (
        lambda: NonNegative(2, SCALE, family="half-normal"),
        lambda _, z: scipy.stats.halfnorm(0, SCALE).logpdf(np.abs(z)).sum(1),
    ),
    "mixture": (_mixture, _of_mixture),
    "empirical": (_empirical, _of_empirical),
    "hierarchical": (
        lambda: Hierarchical(2, SCALE),
        lambda _, z: scipy.stats.norm().logpdf(z).sum(1),
    ),
}


@pytest.mark.parametrize(("make", "oracle"), DENSITIES.values(), ids=DENSITIES)
@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_the_density_is_that_of_an_independent_computation(
    make: Callable[[], Prior], oracle: Oracle, dtype: torch.dtype
) -> None:
    prior = make().to(dtype)
    # Also far out.
    z = torch.randn(50, 2, dtype=dtype) * torch.logspace(-2, 1, 50, dtype=dtype)[:, None]
    if isinstance(prior, NonNegative):
        z = z.abs()
    got = prior.distribution().log_prob(z)
    assert got.dtype == dtype
    expected = torch.as_tensor(oracle(prior, z.double().numpy()))
    # The parameters themselves were given in float32.
    torch.testing.assert_close(got.detach().double(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("make", "oracle"), DENSITIES.values(), ids=DENSITIES)
def test_gradients_are_those_of_finite_differences(
    make: Callable[[], Prior], oracle: Oracle
) -> None:
    made = make().double().distribution()
    z = (torch.rand(6, 2, dtype=torch.double) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(made.log_prob, (z,))
    assert torch.autograd.gradgradcheck(made.log_prob, (z,))


@pytest.mark.parametrize(("make", "oracle"), DENSITIES.values(), ids=DENSITIES)
def test_draws_have_the_mean_and_the_variance_and_the_support(
    make: Callable[[], Prior], oracle: Oracle
) -> None:
    """Six standard errors of 100,000 draws: a false failure has probability 4e-9 a number.

    Of StudentT only the mean of a bounded function is compared: its fourth moment is infinite.
    """
    prior = make()
    made = prior.distribution()
    draws = made.sample((100_000,)).double()
    assert made.support.check(draws).all()
    if isinstance(prior, StudentT):
        below = (draws < SCALE).double().mean(0)
        expected = torch.as_tensor(scipy.stats.t(3.0).cdf([1.0, 1.0]))
        assert (below - expected).abs().max() < 6 * 0.5 / 100_000**0.5
        return
    for values, moment in (
        (draws, made.mean),
        ((draws - made.mean) ** 2, made.variance),
    ):
        error = (values.mean(0) - moment.double()).abs() / (values.std(0) / 100_000**0.5)
        assert error.max() < 6


@pytest.mark.parametrize(("make", "oracle"), DENSITIES.values(), ids=DENSITIES)
def test_a_plate_expands_it_under_validation(make: Callable[[], Prior], oracle: Oracle) -> None:
    prior = make()
    with pyro.validation_enabled(True), pyro.plate("examples", 7):
        z = pyro.sample("z", prior.distribution())
    assert z.shape == (7, 2)
    expanded = prior.distribution().expand([7])
    assert expanded.batch_shape == (7,)
    assert expanded.event_shape == (2,)
    assert expanded.sample((3,)).shape == (3, 7, 2)
    torch.testing.assert_close(expanded.log_prob(z), prior.distribution().log_prob(z))


@pytest.mark.parametrize("smoothing", [1e-3, 0.1, 1.0, 10.0])
def test_a_sparse_density_integrates_to_one_with_its_own_variance(smoothing: float) -> None:
    made = Sparse(1, scale=0.7, smoothing=smoothing).double().distribution()
    z = torch.linspace(-60, 60, 2_400_001, dtype=torch.double)[:, None]
    density = made.log_prob(z).exp()
    total = torch.trapezoid(density, z[:, 0])
    assert float(total) == pytest.approx(1, abs=1e-6)
    second = torch.trapezoid(density * z[:, 0] ** 2, z[:, 0])
    assert float(second) == pytest.approx(float(made.variance), rel=1e-5)


def test_a_sparse_density_becomes_laplaces_as_its_smoothing_goes_to_0() -> None:
    z = torch.linspace(-3, 3, 8)[:, None]
    torch.testing.assert_close(
        Sparse(1, 0.7, smoothing=1e-4).distribution().log_prob(z),
        Laplace(1, 0.7).distribution().log_prob(z),
        atol=2e-4,
        rtol=0,
    )


def test_a_sparse_draw_with_little_smoothing_is_finite() -> None:
    assert Sparse(3, smoothing=1e-6).distribution().sample((100_000,)).isfinite().all()


def test_the_sparse_gradient_is_continuous_at_0_where_laplaces_jumps() -> None:
    for prior, jump in ((Sparse(1, smoothing=0.1), 2e-3), (Laplace(1), 2.0)):
        z = torch.tensor([[-1e-4], [1e-4]], requires_grad=True)
        (gradient,) = torch.autograd.grad(prior.distribution().log_prob(z).sum(), z)
        assert float((gradient[0] - gradient[1]).abs()) == pytest.approx(jump, rel=0.01)


@pytest.mark.parametrize("family", ["exponential", "half-normal"])
def test_a_non_negative_latent_moves_in_its_logarithm_with_the_jacobian(family: Any) -> None:
    """The energy at u = log z is -log p(z) - log z, up to the likelihood, which is constant."""
    model = GeneratorModel(NonNegative(2, SCALE, family), linear(2, 3), Gaussian(1e6))
    potential = bind(model, torch.zeros(4, 3))
    u = torch.randn(4, 2)
    oracle = scipy.stats.expon if family == "exponential" else scipy.stats.halfnorm
    expected = -(oracle(0, SCALE).logpdf(u.exp()) + u.numpy()).sum(1)
    got = potential.energy(u).detach() - potential.energy(torch.zeros(4, 2)).detach()
    expected -= -oracle(0, SCALE).logpdf([1.0, 1.0]).sum()
    torch.testing.assert_close(got.double(), torch.as_tensor(expected), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(potential.unflatten(u)["z"], u.exp())


def test_responsibilities_are_bayes_rule() -> None:
    prior = _mixture()
    z = torch.randn(5, 2)
    weights, means, scales = prior.weights, prior.means, prior.scales
    joint = torch.stack(
        [
            w * dist.Normal(m, s).log_prob(z).sum(1).exp()
            for w, m, s in zip(weights, means, scales, strict=True)
        ],
        1,
    )
    torch.testing.assert_close(
        prior.responsibilities(z), (joint / joint.sum(1, keepdim=True)).detach()
    )


def test_an_empirical_prior_has_the_moments_of_the_latents() -> None:
    """Maximum likelihood of one normal: the sample mean and covariance, up to scikit-learn's 1e-6.

    Its 100,000 draws have them within six standard errors.
    """
    latents = torch.randn(2, 300, 3) @ torch.randn(3, 3) + torch.tensor([1.0, -2.0, 0.5])
    rows = latents.flatten(0, 1)
    prior = Empirical.fit(latents)
    torch.testing.assert_close(prior.means[0], rows.mean(0), rtol=1e-4, atol=1e-4)
    covariance = torch.cov(rows.T, correction=0)
    torch.testing.assert_close(
        prior.scale_tril[0] @ prior.scale_tril[0].T, covariance, rtol=1e-3, atol=1e-4
    )
    draws = prior.distribution().sample((100_000,)).double()
    error = (draws.mean(0) - rows.mean(0)).abs() / (draws.std(0) / 100_000**0.5)
    assert error.max() < 6
    centred = draws - draws.mean(0)
    products = centred[:, :, None] * centred[:, None, :]
    error = (products.mean(0) - covariance).abs() / (products.std(0) / 100_000**0.5)
    assert error.max() < 6


def test_an_empirical_mixture_finds_two_clouds_a_normal_cannot_describe() -> None:
    side = torch.where(torch.rand(1000, 1) < 0.3, -3.0, 3.0)
    latents = torch.cat([side, torch.zeros(1000, 1)], 1) + 0.5 * torch.randn(1000, 2)
    train, test = latents[:800], latents[800:]
    one, two = (Empirical.fit(train, k).distribution().log_prob(test).mean() for k in (1, 2))
    # In closed form log(6 / ... ) apart: the normal's variance along the axis is 7.8, not .25.
    assert float(two - one) > 0.9
    again = Empirical.fit(train, 2).distribution().log_prob(test).mean()
    assert torch.equal(two, again)


def test_an_empirical_prior_makes_generation_like_the_data() -> None:
    """Posterior latents around 4 under a prior N(0, 1): generated data move to where data are."""
    network = linear(1, 2)
    model = GeneratorModel(Normal(1), network, Gaussian(0.1))
    latents = 4 + 0.5 * torch.randn(500, 1)
    data = model.decode(latents).detach()
    better = GeneratorModel(Empirical.fit(latents), network, Gaussian(0.1))
    generated = better.generate(5000, seed=0)
    # Standard error of the mean along the loading: .5 / sqrt(500) of it; the prior's is 8 sd away.
    spread = data.std(0)
    assert ((generated.mean(0) - data.mean(0)).abs() < 0.2 * spread).all()
    assert ((model.generate(5000, seed=0).mean(0) - data.mean(0)).abs() > 4 * spread).all()


def test_scales_of_a_hierarchical_prior_reach_the_network() -> None:
    prior = Hierarchical(2, SCALE)
    model = GeneratorModel(prior, linear(2, 3), Gaussian(0.1))
    standardised = torch.randn(5, 2)
    torch.testing.assert_close(
        model.decode(standardised), model.network(standardised * SCALE), rtol=1e-6, atol=1e-6
    )
    z = prior.transformed(model.prior.distribution().sample((100_000,)))
    # The relative standard error of a variance is sqrt(2 / n) = .0045; six of them.
    torch.testing.assert_close(z.var(0), prior.variance, rtol=0.027, atol=0)


def test_labels_take_the_place_of_the_chains_own_coordinate() -> None:
    prior = Supervised(Normal(3), components=[2, 0])
    latents = torch.randn(4, 3)
    labels = torch.tensor([[1.0, NAN], [NAN, 5.0], [NAN, NAN], [7.0, 8.0]])
    transformed = prior.transformed(latents, {"labels": labels})
    expected = latents.clone()
    expected[0, 2], expected[1, 0], expected[3, 2], expected[3, 0] = 1.0, 5.0, 7.0, 8.0
    assert torch.equal(transformed, expected)
    assert prior.transformed(latents, None) is latents


def test_supervised_density_is_that_of_labels_and_latents() -> None:
    prior = Supervised(Normal(3, loc=1.0, scale=2.0), components=2)
    z = torch.randn(2, 3)
    labels = torch.tensor([[NAN, 0.5], [NAN, NAN]])
    made = prior.given({"labels": labels})
    assert made.batch_shape == (2,)
    cells = scipy.stats.norm(1.0, 2.0)
    expected = cells.logpdf(z).sum(1)
    expected[0] += cells.logpdf(0.5)
    torch.testing.assert_close(made.log_prob(z), torch.as_tensor(expected).float())
    assert made.sample((5,)).shape == (5, 2, 3)
    assert made.expand([2]).sample().shape == (2, 3)
    # Integer labels, such as classes, are taken too.
    assert prior.given({"labels": torch.ones(2, 2, dtype=torch.int64)}).log_prob(z).isfinite().all()


def test_labels_may_have_another_name_and_stand_beside_other_context() -> None:
    prior = Supervised(Normal(2), components=1, key="pose")
    context = {"pose": torch.tensor([[2.0]]), "exposure": torch.ones(1)}
    assert torch.equal(prior.transformed(torch.zeros(1, 2), context), torch.tensor([[2.0, 0.0]]))


class _Features(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([(2 * z).cos(), z.sin(), (-(z**2)).exp()], 1)


@pytest.mark.parametrize(
    ("kernel", "bias"), [(MALA(step_size=1.0), 0.0), (None, 0.03)], ids=["MALA", "default"]
)
def test_the_normalisers_gradient_is_that_of_quadrature(kernel: Any, bias: float) -> None:
    """In one dimension, with an energy linear in α: the gradient is -E[features].

    20,000 chains, six standard errors. The paper's plain Langevin at its step size has a bias.
    """
    alpha = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        alpha.weight.copy_(torch.tensor([[0.4, 0.7, 0.5]]))
    features = _Features()
    prior = LatentEnergy(1, nn.Sequential(features, alpha), kernel=kernel, num_steps=60)
    grid = torch.linspace(-10, 10, 20_001, dtype=torch.double)[:, None]
    log_z = prior.log_density(grid).logsumexp(0)
    (exact,) = torch.autograd.grad(log_z, alpha.weight)
    (got,) = torch.autograd.grad(prior.log_normaliser(20_000, seed=0), alpha.weight)
    error = features(prior.draw(20_000, seed=0)).std(0) / 20_000**0.5
    assert ((got - exact).abs()[0] < 6 * error + bias).all()
    # What it would be if the prior were the normal that the chains start from is far off.
    normal = torch.softmax(-0.5 * grid[:, 0] ** 2, 0) @ features(grid)
    assert ((normal + exact[0]).abs() > 12 * error + bias).any()


def test_a_latent_energys_draws_are_its_seeds_alone() -> None:
    prior = LatentEnergy(2, mlp(2, 1, hidden=(8,)), num_steps=5)
    state = torch.random.get_rng_state()
    first = prior.draw(10, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, prior.draw(10, seed=3))
    assert not torch.equal(first, prior.draw(10, seed=4))
    model = GeneratorModel(prior, linear(2, 3), Gaussian(0.1))
    assert torch.equal(model.generate(4, seed=1), model.generate(4, seed=1))
    assert not torch.equal(model.generate(4, seed=1), model.generate(4, seed=2))


def test_the_priors_own_chain_leaves_captured_graphs_alone() -> None:
    prior = LatentEnergy(2, mlp(2, 1, hidden=(8,)), num_steps=3)
    potential = bind(
        GeneratorModel(prior, linear(2, 3), Gaussian(0.1)), torch.zeros(4, 3), capture=True
    )
    z = torch.randn(4, 2)
    before = potential(z)
    (graph,) = potential.evaluator.graphs
    value = prior.log_normaliser(5, seed=0)
    torch.autograd.grad(value, list(prior.parameters()), allow_unused=True)
    prior.distribution().sample((2,))
    for a, b in zip(before, potential(z), strict=True):
        assert torch.equal(a, b)
    # A step of α is seen by the same graph.
    with torch.no_grad():
        prior.energy[0].bias.add_(1.0)
    after = potential(z)
    assert not torch.equal(after[0], before[0])
    assert potential.evaluator.graphs == [graph]
    torch.testing.assert_close(after[0], potential.energy(z).detach())


def test_non_negative_generators_are_non_negative_and_differ_in_every_weight() -> None:
    network = linear(4, (2, 3), non_negative=True)
    layer = network[0]
    assert (layer.weight > 0).all()
    assert (layer.bias > 0).all()
    assert layer.weight.unique().numel() == 24
    x = torch.rand(5, 4)
    expected = (x @ layer.weight.T + layer.bias).reshape(5, 2, 3)
    torch.testing.assert_close(network(x), expected)
    assert linear(4, 6, non_negative=True, bias=False)[0].bias is None


def test_a_linear_generator_is_linear() -> None:
    network = linear(3, (2, 2), bias=False)
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    assert network(a).shape == (2, 2, 2)
    torch.testing.assert_close(network(a + b), network(a) + network(b))
