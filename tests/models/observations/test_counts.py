"""Counts: accuracy, exposure, and prior draws that do not overflow."""

import math

import mpmath
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, bind
from explainaway.models import GeneratorModel, Masked, NegativeBinomial, Normal, Poisson, mlp
from explainaway.models.distributions.saddle_point import SERIES_FROM, stirling_error


def _log_mass(observation: Poisson | NegativeBinomial, output: Tensor, y: Tensor) -> Tensor:
    return observation.distribution(output[:, None]).log_prob(y[:, None]).detach()


def test_poisson_density_is_scipys() -> None:
    output = torch.linspace(-6, 12, 200).double()
    y = torch.poisson(output.exp() * torch.rand(200).double() * 2)
    expected = torch.tensor(scipy.stats.poisson(output.exp()).logpmf(y))
    torch.testing.assert_close(_log_mass(Poisson(), output, y), expected, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("dispersion", [0.01, 0.5, 3.0])
def test_negative_binomial_density_is_scipys(dispersion: float) -> None:
    output = torch.linspace(-6, 9, 200).double()
    y = torch.poisson(output.exp() * torch.rand(200).double() * 2)
    observation = NegativeBinomial(torch.tensor(dispersion)).double()
    # The dispersion is kept as a logarithm of the default precision: compare at what it is.
    kept = 1 / float(observation.dispersion)
    expected = torch.tensor(scipy.stats.nbinom(kept, kept / (kept + output.exp())).logpmf(y))
    torch.testing.assert_close(_log_mass(observation, output, y), expected, rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize("count", [0, 1, 17, 10_000, 1_000_000])
@pytest.mark.parametrize("ratio", [0.2, 0.999, 1.0, 1.01, 5.0])
def test_counts_keep_their_precision_in_float32(count: int, ratio: float) -> None:
    """Against 50 digits: the usual formula is wrong by about a nat at a count of 10⁶."""
    output = torch.tensor([math.log(max(count, 1) * ratio)])
    y = torch.tensor([float(count)])
    # Beyond the formula: a rounding of the output itself moves the density by (y - m) ε |output|.
    slack = 2e-7 * abs(count * (1 - ratio) * float(output)) + 1e-3
    with mpmath.workdps(50):
        rate = mpmath.exp(mpmath.mpf(float(output)))
        expected = count * mpmath.log(rate) - rate - mpmath.loggamma(count + 1)
    assert float(_log_mass(Poisson(), output, y)) == pytest.approx(
        float(expected), rel=1e-5, abs=slack
    )
    for dispersion in (1e-6, 0.3, 50.0):
        observation = NegativeBinomial(dispersion)
        with mpmath.workdps(50):
            r = 1 / mpmath.mpf(float(observation.dispersion))
            expected = (
                mpmath.loggamma(count + r)
                - mpmath.loggamma(r)
                - mpmath.loggamma(count + 1)
                + r * mpmath.log(r / (r + rate))
                + count * mpmath.log(rate / (r + rate))
            )
        assert float(_log_mass(observation, output, y)) == pytest.approx(
            float(expected), rel=1e-5, abs=slack
        )


def test_stirlings_error_is_continuous_and_that_of_the_gamma_function() -> None:
    x = torch.cat([torch.logspace(-6, 3, 500).double(), torch.tensor([SERIES_FROM]).double()])
    exact = torch.lgamma(x + 1) - (x + 0.5) * x.log() + x - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(stirling_error(x), exact, rtol=1e-9, atol=2e-11)


def test_a_negative_binomial_of_small_dispersion_is_poisson() -> None:
    output, y = torch.randn(5, 3), torch.poisson(torch.ones(5, 3))
    torch.testing.assert_close(
        NegativeBinomial(1e-7).distribution(output).log_prob(y),
        Poisson().distribution(output).log_prob(y),
        rtol=1e-4,
        atol=1e-4,
    )


def test_negative_binomial_variance_is_that_of_its_dispersion() -> None:
    """200,000 draws; a sample variance within six of its standard errors: false failure 2e-9."""
    made = NegativeBinomial(0.7).distribution(torch.tensor([[1.0]]).expand(200_000, 1))
    draws = made.sample().double()
    mean = math.e
    squares = (draws - mean) ** 2
    error = float(squares.std()) / 200_000**0.5
    assert abs(float(squares.mean()) - (mean + 0.7 * mean**2)) < 6 * error
    assert float(made.variance[0]) == pytest.approx(mean + 0.7 * mean**2, rel=1e-5)


def test_a_learned_dispersion_reaches_the_likelihoods_maximum() -> None:
    """Two derivatives vanish there: no random error."""
    torch.manual_seed(1)
    y = dist.NegativeBinomial(2.0, logits=torch.tensor(1.0)).sample((3_000, 1)).double()
    observation = NegativeBinomial(3.0, learn_dispersion=True).double()
    output = torch.full((1,), float(y.mean().log()), dtype=torch.double)
    optimizer = torch.optim.LBFGS(observation.parameters(), line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -observation.distribution(output.expand(3_000, 1)).log_prob(y).mean()
        value.backward()
        return value

    optimizer.step(loss)
    best = float(observation.dispersion.detach())

    def of(dispersion: float) -> float:
        r, mean = 1 / dispersion, float(y.mean())
        return float(scipy.stats.nbinom(r, r / (r + mean)).logpmf(y).mean())

    assert of(best) >= max(of(best * 0.99), of(best * 1.01))


@pytest.mark.parametrize("observation", [Poisson(), NegativeBinomial(0.5)])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 4), (1, 4)])
def test_exposure_multiplies_the_mean_from_the_example_on(
    observation: Poisson | NegativeBinomial, shape: tuple[int, ...]
) -> None:
    """(4,) is one for each example although y has as many columns as examples."""
    exposure = 1 + torch.rand(shape)
    output, y = torch.randn(4, 4), torch.poisson(torch.ones(4, 4))
    whole = exposure[:, None] if exposure.dim() == 1 else exposure
    context = {"exposure": exposure}
    torch.testing.assert_close(
        observation.distribution(output, context=context).log_prob(y),
        observation.distribution(output + whole.log()).log_prob(y),
    )
    torch.testing.assert_close(observation.reconstruct(output, context), output.exp() * whole)
    torch.testing.assert_close(observation.signal(output), output.exp())


@pytest.mark.parametrize("observation", [Poisson(), NegativeBinomial(0.5)])
def test_the_model_decodes_rates_and_reconstructs_means(
    observation: Poisson | NegativeBinomial,
) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,)), observation)
    z, hours = torch.randn(2, 5, 2), torch.arange(1, 6)  # two chains, whole numbers of hours
    rate = model.decode(z)
    mean = model.reconstruct(z, context={"exposure": hours})
    torch.testing.assert_close(mean, rate * hours[:, None])


def test_the_distribution_around_a_rate_is_that_of_its_output() -> None:
    output, y = torch.randn(4, 3), torch.poisson(torch.ones(4, 3))
    for observation in (Poisson(), NegativeBinomial(0.5)):
        made = observation.around(observation.signal(output), context={"exposure": torch.ones(4)})
        expected = observation.distribution(output).log_prob(y)
        torch.testing.assert_close(made.log_prob(y), expected, rtol=1e-5, atol=1e-5)
    nowhere = Poisson().around(torch.zeros(1, 2))
    torch.testing.assert_close(nowhere.log_prob(torch.zeros(1, 2)), torch.zeros(1))


def test_exposure_is_batched_with_the_data() -> None:
    """An example's energy takes its own exposure, in any order and in batches."""
    model = GeneratorModel(Normal(2), mlp(2, (3,)), Masked(Poisson()))
    y, exposure = torch.poisson(torch.ones(6, 3)), 1 + torch.arange(6.0)
    z = torch.randn(6, 2)
    energy, _ = bind(model, y, context={"exposure": exposure})(z)
    order = torch.randperm(6)
    turned, _ = bind(model, y[order], context={"exposure": exposure[order]})(z[order])
    torch.testing.assert_close(turned, energy[order])
    abp = AlternatingBackProp(model, inference_steps=1, batch_size=2)
    fit = abp.fit(y, context={"exposure": exposure}, epochs=1, progress=False)
    assert bool(fit.latents.isfinite().all())


@pytest.mark.parametrize("observation", [Poisson(), NegativeBinomial(0.5, learn_dispersion=True)])
def test_no_output_overflows_and_every_gradient_leads_back(
    observation: Poisson | NegativeBinomial,
) -> None:
    """What a prior with very heavy tails gives to an exponential link."""
    output = torch.tensor([[-1e6, -200.0, 0.0, 29.9, 30.1, 89.0, 1e6]], requires_grad=True)
    made = observation.distribution(output)
    draws = made.sample()
    assert bool((draws.isfinite() & (draws >= 0)).all())
    y = torch.full((1, 7), 3.0)
    made.log_prob(y).sum().backward()
    assert output.grad is not None
    assert bool(output.grad.isfinite().all())
    assert bool((output.grad[0, :2] > 0).all())
    assert bool((output.grad[0, 3:] < 0).all())
    assert all(
        bool(p.grad.isfinite().all()) for p in observation.parameters() if p.grad is not None
    )


def test_a_wide_prior_is_validated_generated_and_learned() -> None:
    """Cauchy latents, 50 times wider than usual: outputs in the thousands."""
    wide = dist.Cauchy(torch.zeros(2), 50.0)
    for observation in (Poisson(), NegativeBinomial(0.5)):
        model = GeneratorModel(wide, mlp(2, (3,)), observation)
        assert (
            float(model.network(wide.sample((100,))).detach().max()) > 89
        )  # exp overflows in float32
        y = model.generate(100, seed=0, noise=True)
        assert bool(y.isfinite().all())
        model.validate_data(y)
        fit = AlternatingBackProp(model, inference_steps=2).fit(
            torch.poisson(torch.ones(20, 3)), epochs=2, progress=False
        )
        assert all(math.isfinite(loss) for loss in fit.history["loss"])
        assert all(bool(p.isfinite().all()) for p in model.parameters())
