"""Laplace and Student's t noise."""

import math

import pytest
import scipy.stats
import torch

from explainaway.models.observations import Laplace, StudentT


@pytest.mark.parametrize("scale", [0.7, [0.1, 1.0, 10.0]])
def test_laplace_density_is_scipys(scale: float | list[float]) -> None:
    output, y = torch.randn(4, 3).double(), 5 * torch.randn(4, 3).double()
    got = Laplace(torch.tensor(scale)).double().distribution(output).log_prob(y)
    expected = scipy.stats.laplace(output, scale).logpdf(y).sum(1)
    # The scale is kept as a logarithm of the default precision.
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("df", [0.5, 1.0, 4.0, 100.0])
def test_student_t_density_is_scipys(df: float) -> None:
    output, y = torch.randn(4, 3).double(), 50 * torch.randn(4, 3).double()
    got = StudentT(df, scale=0.7).double().distribution(output).log_prob(y)
    expected = scipy.stats.t(df, output, 0.7).logpdf(y).sum(1)
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [Laplace(inverse_link=torch.tanh), StudentT(3.0, 0.2)])
def test_the_estimate_is_the_signal(family: Laplace | StudentT) -> None:
    output = torch.randn(4, 3)
    signal = output.tanh() if family.inverse_link else output
    assert torch.equal(family.reconstruct(output), signal)
    assert torch.equal(family.distribution(output).mean, signal)


def test_a_cauchy_without_a_mean_is_reconstructed_by_its_centre() -> None:
    output = torch.randn(4, 3)
    assert torch.equal(StudentT(1.0).reconstruct(output), output)


def test_the_link_says_what_it_can_reach() -> None:
    assert Laplace().link_range() == (-math.inf, math.inf)
    assert StudentT(inverse_link=torch.sigmoid).link_range() == (0.0, 1.0)


@pytest.mark.parametrize("make", [Laplace, StudentT])
@pytest.mark.parametrize("learned", [False, True])
def test_the_scale_is_a_parameter_only_when_learned(make: type, learned: bool) -> None:
    family = make(scale=0.3, learn_scale=learned)
    assert len(list(family.parameters())) == learned
    torch.testing.assert_close(family.scale.detach(), torch.tensor(0.3))


@pytest.mark.parametrize("make", [Laplace, StudentT])
def test_the_learned_scale_reaches_the_likelihoods_maximum(make: type) -> None:
    """Against scipy's fit of the same 2,000 values: the optimum itself, no Monte Carlo error."""
    family = make(scale=3.0, learn_scale=True).double()
    y = 0.4 * torch.randn(2_000, 1).double() / torch.rand(2_000, 1).double().sqrt()
    adam = torch.optim.LBFGS(family.parameters(), line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        adam.zero_grad()
        value = -family.distribution(torch.zeros_like(y)).log_prob(y).mean()
        value.backward()
        return value

    adam.step(loss)
    if make is Laplace:
        expected = float(y.abs().mean())
    else:
        _, _, expected = scipy.stats.t.fit(y.numpy(), fdf=4.0, floc=0.0)
    assert float(family.scale.detach()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("family", [Laplace(), StudentT(3.0)])
def test_an_outlier_pulls_no_harder_than_the_familys_limit(family: Laplace | StudentT) -> None:
    """The score is at most 1/b for Laplace, (ν + 1) / (2 √ν σ) for t; a normal's grows without."""
    output = torch.zeros(1, 4, requires_grad=True)
    y = torch.tensor([[0.5, 3.0**0.5, 1e3, 1e6]])
    (score,) = torch.autograd.grad(family.distribution(output).log_prob(y).sum(), output)
    limit = 1.0 if isinstance(family, Laplace) else 4 / (2 * 3**0.5)
    assert float(score.max()) <= limit * (1 + 1e-6)
    if isinstance(family, StudentT):
        assert float(score[0, 3]) < 1e-5
