import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.mcmc.util import initialize_model
from torch.distributions import constraints

from explainaway.inference import bind
from explainaway.models import Bernoulli, Gaussian, GeneratorModel, Masked, Normal, mlp

from ...conftest import linear_gaussian


def own_model(x: torch.Tensor) -> None:
    """A model with constrained latents of two kinds and a nested plate."""
    scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
    with pyro.plate("rows", len(x), dim=-2):
        rate = pyro.sample("rate", dist.Gamma(2.0, torch.ones(len(x), 1)))
        mix = pyro.sample("mix", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("columns", x.shape[1], dim=-1):
            pyro.sample("x", dist.Normal(rate * mix[..., 0], scale), obs=x)


def test_energy_is_minus_the_log_joint() -> None:
    model = GeneratorModel(Normal(3), mlp(3, (5,)), Gaussian(0.3))
    y, z = torch.randn(4, 5), torch.randn(4, 3)
    energy, gradient = bind(model, y)(z)
    torch.testing.assert_close(energy, -model.log_joint(y, z).detach())
    z.requires_grad_()
    (expected,) = torch.autograd.grad(-model.log_joint(y, z).sum(), z)
    torch.testing.assert_close(gradient, expected)
    assert not energy.requires_grad
    assert not gradient.requires_grad


def test_energy_of_constrained_latents_is_pyros() -> None:
    """Pyro's own HMC potential, transforms and Jacobians included, summed over examples."""
    x = torch.rand(4, 6)
    potential = bind(own_model, x, example_plate="rows")
    position = 0.5 * torch.randn(4, potential.latent_dim)
    _, potential_fn, _, _ = initialize_model(own_model, model_args=(x,))
    rate, mix = position[:, :1], position[:, 1:]
    expected = potential_fn({"rate": rate, "mix": mix.reshape(4, 1, 2)})
    torch.testing.assert_close(potential(position)[0].sum(), expected.detach())


def test_flatten_and_unflatten_are_inverse() -> None:
    potential = bind(own_model, torch.rand(4, 6), example_plate="rows")
    position = torch.randn(4, 3)
    latents = potential.unflatten(position)
    assert latents["rate"].shape == (4, 1)
    assert latents["mix"].shape == (4, 1, 3)
    torch.testing.assert_close(latents["mix"].sum(-1), torch.ones(4, 1))
    torch.testing.assert_close(potential.flatten(latents), position, rtol=1e-4, atol=1e-4)


def test_flatten_names_what_is_missing() -> None:
    potential = bind(own_model, torch.rand(4, 6), example_plate="rows")
    with pytest.raises(ValueError, match=r"sites \['rate', 'mix'\], got \['rate'\]"):
        potential.flatten({"rate": torch.ones(4, 1)})


def test_loss_is_the_mean_energy_and_reaches_theta() -> None:
    model = GeneratorModel(Normal(3), mlp(3, (5,)), Gaussian(0.3, learn_scale=True))
    potential, z = bind(model, torch.randn(4, 5)), torch.randn(4, 3)
    loss = potential.loss(z)
    torch.testing.assert_close(loss.detach(), potential(z)[0].mean())
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_tempering_leaves_the_prior_alone() -> None:
    model = GeneratorModel(Normal(3), mlp(3, (5,)), Gaussian(0.3))
    potential, z = bind(model, torch.randn(4, 5)), torch.randn(4, 3)
    beta = torch.tensor([0.0, 0.3, 1.0, 2.0])
    prior = -Normal(3).distribution().log_prob(z)
    likelihood = potential.log_likelihood(z)
    energy, _ = potential.tempered(beta)(z)
    torch.testing.assert_close(energy, prior - beta * likelihood)


def test_the_first_of_an_order_are_kept_while_it_and_the_data_stay() -> None:
    model = GeneratorModel(Normal(3), mlp(3, (5,)), Gaussian(0.3))
    y, z = torch.randn(6, 5), torch.randn(6, 3)
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    beta = torch.rand(6)
    bound = bind(model, y, capture=True)
    for potential in (bound, bound.tempered(beta)):
        for size in (4, 2, 4):
            some = potential.leading(order, size)
            for got, expected in zip(some(z[order[:size]]), potential(z), strict=True):
                torch.testing.assert_close(got, expected[order[:size]])
        assert potential.leading(order.clone(), 4).data is some.data
        another = potential.leading(order.flip(0), 4)
        torch.testing.assert_close(
            another(z[order.flip(0)[:4]])[0], potential(z)[0][order[2:].flip(0)]
        )
    potential = bind(model, y, capture=True)
    before = potential.leading(order, 4)(z[order[:4]])[0]
    for tensor in potential.data.tensors():
        tensor.mul_(2)
    after = potential.leading(order, 4)(z[order[:4]])[0]
    torch.testing.assert_close(after, potential(z)[0][order[:4]])
    assert not torch.allclose(before, after)


def test_metric_is_the_exact_precision_of_a_linear_gaussian() -> None:
    linear = linear_gaussian(torch.randn(6, 3, dtype=torch.double), scale=0.4)
    y = torch.where(torch.rand(5, 6) < 0.7, torch.randn(5, 6), torch.nan).double()
    potential = bind(linear.model, y)
    _, covariance = linear.posterior(y, ~y.isnan())
    metric = potential.metric(torch.randn(5, 3, dtype=torch.double))
    # The observation keeps log σ in single precision.
    torch.testing.assert_close(metric, torch.linalg.inv(covariance), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        potential.metric_diag(torch.randn(5, 3, dtype=torch.double)),
        metric.diagonal(dim1=1, dim2=2),
    )


def test_metric_of_bernoulli_pixels_is_the_fisher_information() -> None:
    model = GeneratorModel(Normal(3), mlp(3, (5,)), Bernoulli()).double()
    z = torch.randn(2, 3, dtype=torch.double)
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(lambda v: model.network(v[None])[0], row) for row in z]
    )
    p = model.decode(z).detach()
    expected = jacobian.mT @ ((p * (1 - p))[:, :, None] * jacobian) + torch.eye(3)
    y = torch.randint(2, (2, 5)).double()
    torch.testing.assert_close(bind(model, y).metric(z), expected)


def test_metric_takes_a_distributions_own_fisher_information() -> None:
    class Cauchy(dist.Cauchy):
        def fisher(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
            return [(self.loc[:, None], 0.5 / self.scale[:, None] ** 2)]

        def expand(self, *args: object, **kwargs: object) -> "Cauchy":
            return self

    def with_fisher(y: torch.Tensor) -> None:
        with pyro.plate("examples", len(y)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("y", Cauchy(3 * z[:, 0], torch.full((len(y),), 2.0)), obs=y)

    metric = bind(with_fisher, torch.zeros(4)).metric(torch.zeros(4, 1))
    torch.testing.assert_close(metric, torch.full((4, 1, 1), 1 + 9 * 0.5 / 4))


def test_metric_names_the_site_whose_information_is_unknown() -> None:
    model = GeneratorModel(
        Normal(1), mlp(1, (2,)), lambda output: dist.StudentT(3.0, output).to_event(1)
    )
    with pytest.raises(NotImplementedError, match=r"site 'y'.*fisher\(\)"):
        bind(model, torch.zeros(2, 2)).metric(torch.zeros(2, 1))


def test_poutine_mask_and_scale_are_respected() -> None:
    def masked(y: torch.Tensor, keep: torch.Tensor) -> None:
        with pyro.plate("examples", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.poutine.mask(mask=keep), pyro.poutine.scale(scale=0.5):
                pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    keep = torch.tensor([True, False])
    likelihood = bind(masked, torch.ones(2), keep).log_likelihood(torch.zeros(2, 1))
    torch.testing.assert_close(likelihood, torch.tensor([0.5 * -1.418939, 0.0]))


def test_predictive_draws_fill_missing_cells() -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,)), Masked(Gaussian(0.3)))
    y = torch.tensor([[torch.nan, 1.0, 2.0]])
    potential, z = bind(model, y), torch.zeros(1, 2)
    before = torch.random.get_rng_state()
    drawn = potential.predict(z, seed=3)["y"]
    assert drawn.shape == (1, 3)
    assert drawn.isfinite().all()
    assert torch.equal(drawn, potential.predict(z, seed=3)["y"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_position_of_another_shape_is_refused() -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.3))
    with pytest.raises(ValueError, match=r"position must have shape \(4, 2\), got \(4, 3\)"):
        bind(model, torch.zeros(4, 3))(torch.zeros(4, 3))
