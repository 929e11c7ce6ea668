import pyro.distributions as dist
import pytest
import scipy.stats
import torch

from explainaway.models import Bernoulli, Gaussian, GeneratorModel, Masked, Normal, mlp


def test_gaussian_density_is_scipys() -> None:
    output, y = torch.randn(4, 3, dtype=torch.double), torch.randn(4, 3, dtype=torch.double)
    got = Gaussian(0.7).double().distribution(output).log_prob(y)
    expected = scipy.stats.norm(output, 0.7).logpdf(y).sum(1)
    # The scale is kept as a logarithm of the default precision.
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_gaussian_scale_may_differ_between_columns() -> None:
    scale = torch.tensor([0.1, 1.0, 10.0])
    got = Gaussian(scale).distribution(torch.zeros(2, 3)).log_prob(torch.ones(2, 3))
    expected = scipy.stats.norm(0, scale.numpy()).logpdf(1.0).sum()
    torch.testing.assert_close(got, torch.full((2,), float(expected)), rtol=1e-5, atol=1e-5)


def test_gaussian_inverse_link_makes_the_mean() -> None:
    output = torch.randn(4, 3)
    observation = Gaussian(0.3, inverse_link=torch.tanh)
    assert torch.equal(observation.reconstruct(output), output.tanh())
    assert torch.equal(observation.distribution(output).mean, output.tanh())
    assert observation.link_range() == (-1.0, 1.0)


@pytest.mark.parametrize("learned", [False, True])
def test_gaussian_scale_is_a_parameter_only_when_learned(learned: bool) -> None:
    observation = Gaussian(0.3, learn_scale=learned)
    assert len(list(observation.parameters())) == learned
    torch.testing.assert_close(observation.scale.detach(), torch.tensor(0.3))


def test_bernoulli_density_is_scipys() -> None:
    output = torch.randn(4, 3, dtype=torch.double)
    y = torch.randint(2, (4, 3)).double()
    got = Bernoulli().distribution(output).log_prob(y)
    expected = scipy.stats.bernoulli(output.sigmoid()).logpmf(y).sum(1)
    torch.testing.assert_close(got, torch.tensor(expected))


@pytest.mark.parametrize("observation", [Gaussian(0.5, torch.tanh), Bernoulli()])
def test_samples_have_the_mean_that_is_reported(observation: Gaussian | Bernoulli) -> None:
    output = torch.tensor([[-1.0, 0.0, 2.0]])
    draws = observation.distribution(output.expand(100_000, 3)).sample()
    # Standard error at most .5 / sqrt(1e5) = .0016; six of them: false failure 6e-9.
    assert (draws.mean(0) - observation.reconstruct(output)[0]).abs().max() < 0.0095


@pytest.mark.parametrize("base", [Gaussian(0.5), Bernoulli()])
def test_density_gradients_are_those_of_finite_differences(base: Gaussian | Bernoulli) -> None:
    output = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    y = torch.randint(2, (2, 3)).double()
    mask = torch.tensor([[True, False, True], [False, False, False]])
    observation = Masked(base).double()

    def log_prob(value: torch.Tensor) -> torch.Tensor:
        return observation.distribution(value, mask=mask).log_prob(y)

    assert torch.autograd.gradcheck(log_prob, (output,))


def test_a_plain_callable_is_an_observation() -> None:
    model = GeneratorModel(
        Normal(2), mlp(2, (3,)), lambda output: dist.Laplace(output, 0.1).to_event(1)
    )
    z = torch.randn(4, 2)
    y = torch.randn(4, 3)
    expected = scipy.stats.laplace(model.network(z).detach(), 0.1).logpdf(y).sum(1)
    expected += scipy.stats.norm().logpdf(z).sum(1)
    torch.testing.assert_close(
        model.log_joint(y, z).detach().double(), torch.tensor(expected), rtol=1e-4, atol=1e-4
    )


def test_a_plain_callable_can_be_masked() -> None:
    observation = Masked(lambda output: dist.Laplace(output, 0.1))
    y, mask = observation.prepare(torch.tensor([[1.0, torch.nan]]), None)
    got = observation.distribution(torch.zeros(1, 2), mask=mask).log_prob(y)
    assert float(got) == pytest.approx(float(scipy.stats.laplace(0, 0.1).logpdf(1.0)), rel=1e-5)


def test_a_correlated_callable_cannot_be_masked() -> None:
    observation = Masked(lambda output: dist.MultivariateNormal(output, torch.eye(2)))
    with pytest.raises(ValueError, match="correlated"):
        observation.distribution(torch.zeros(1, 2), mask=torch.tensor([[True, False]]))


def test_a_pyro_distribution_is_a_prior() -> None:
    model = GeneratorModel(dist.Laplace(torch.zeros(2), 1.0), mlp(2, (3,)), Gaussian(1.0))
    z = torch.tensor([[1.0, -2.0]])
    network_part = Gaussian(1.0).distribution(model.network(z)).log_prob(torch.zeros(1, 3))
    prior_part = (model.log_joint(torch.zeros(1, 3), z) - network_part).detach()
    assert float(prior_part) == pytest.approx(
        float(scipy.stats.laplace.logpdf([1, -2]).sum()), rel=1e-4
    )


def test_normal_prior_takes_location_and_scale() -> None:
    made = Normal(2, loc=torch.tensor([1.0, 2.0]), scale=3.0).distribution()
    assert made.event_shape == (2,)
    assert float(made.log_prob(torch.zeros(2))) == pytest.approx(
        float(scipy.stats.norm([1, 2], 3).logpdf(0).sum()), rel=1e-5
    )
