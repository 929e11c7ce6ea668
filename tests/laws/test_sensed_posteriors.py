"""Posteriors through operators and limits, against closed forms and quadrature."""

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from explainaway.data import digits
from explainaway.inference import HMC, MALA, AlternatingBackProp, sample_posterior
from explainaway.models import (
    Censored,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    Sensed,
    mlp,
    operators,
)

from ..conftest import LinearGaussian


def test_a_linear_generator_seen_through_a_projection_has_its_closed_form() -> None:
    """16 means and 16 variances within 6 Monte Carlo standard errors: false failure below 1e-7."""
    operator = operators.RandomProjection((12,), 5, seed=4)
    network = mlp(2, 12, hidden=())
    model = GeneratorModel(Normal(2), network, Masked(Sensed(Gaussian(0.5), operator)))
    seen_weight = (operator.matrix @ network[0].weight).detach()
    seen_bias = (operator.matrix @ network[0].bias).detach()
    y = torch.where(torch.rand(8, 5) < 0.7, torch.randn(8, 5), torch.nan)
    mean, covariance = LinearGaussian(model, seen_weight, seen_bias, 0.5).posterior(y, ~y.isnan())
    posterior = sample_posterior(
        model,
        y,
        kernel=HMC(5),
        num_chains=40,
        warmup_steps=200,
        num_samples=250,
        progress=False,
    )
    z = posterior.get_samples()["z"]
    sd = covariance.diagonal(dim1=1, dim2=2).sqrt()
    ess = torch.tensor(posterior.summary().ess, dtype=torch.float32)
    assert ((z.mean(0) - mean).abs() < 6 * sd / ess.sqrt()).all()
    assert ((z.var(0) / sd**2 - 1).abs() < 6 * (6 / ess).sqrt()).all()
    # The data tell something, so that the prior would not pass.
    assert float(sd.min()) < 0.8


def _by_quadrature(log_likelihood: Tensor, grid: Tensor) -> tuple[float, float]:
    """Return posterior mean and standard deviation of z ~ N(0, 1) from a grid."""
    log_posterior = log_likelihood - grid**2 / 2
    share = (log_posterior - log_posterior.max()).exp()
    share = share / share.sum()
    mean = (share * grid).sum()
    return float(mean), float((share * (grid - mean) ** 2).sum().sqrt())


@pytest.mark.parametrize(
    "kernel", [MALA(), pytest.param(HMC(5), marks=pytest.mark.slow)], ids=["MALA", "HMC"]
)
def test_a_tobit_posterior_is_that_of_quadrature(kernel: object) -> None:
    """``y = w z + ε`` with a detection limit, saturation and an interval: four examples.

    Means and standard deviations within 6 Monte Carlo standard errors (that of the deviation
    with a third of the ESS): 8 comparisons, false failure below 1e-7.
    """
    weight = torch.tensor([1.0, -0.7, 1.5, 0.5], dtype=torch.double)
    scale, lower, upper = 0.6, -0.5, 1.0
    nan = torch.nan
    y = torch.tensor(
        [[-0.5, 0.4, -0.5, 0.1], [1.0, -0.5, 1.0, nan], [nan, 0.2, nan, 0.0], [0.3, nan, nan, -0.5]]
    ).double()
    limits = {
        "lower": torch.tensor([[nan] * 4, [nan] * 4, [0.2, nan, nan, nan], [nan, nan, 2.0, nan]]),
        "upper": torch.tensor([[nan] * 4, [nan] * 4, [0.9, nan, nan, nan], [nan, nan, nan, nan]]),
    }
    network = mlp(1, 4, hidden=()).double()
    with torch.no_grad():
        network[0].weight.copy_(weight[:, None])
        network[0].bias.zero_()
    observation = Masked(Censored(Gaussian(scale), lower, upper))
    model = GeneratorModel(Normal(1), network, observation).double()

    grid = torch.linspace(-9, 9, 20_001, dtype=torch.double)
    expected = []
    for i in range(4):
        likelihood = torch.zeros_like(grid)
        for j in range(4):
            cell = dist.Normal(weight[j] * grid, scale)
            low, high = float(limits["lower"][i, j]), float(limits["upper"][i, j])
            value = float(y[i, j])
            if low == low or high == high:
                above = cell.cdf(torch.tensor(high).double()) if high == high else 1.0
                likelihood += (above - cell.cdf(torch.tensor(low).double())).log()
            elif value <= lower:
                likelihood += cell.cdf(torch.tensor(lower).double()).log()
            elif value >= upper:
                likelihood += (1 - cell.cdf(torch.tensor(upper).double())).log()
            elif value == value:
                likelihood += cell.log_prob(y[i, j])
        # Where the plain cdf has run out of digits there is no mass.
        expected.append(_by_quadrature(likelihood.nan_to_num(-1e9, neginf=-1e9), grid))
    posterior = sample_posterior(
        model,
        y,
        context=limits,
        kernel=kernel,  # type: ignore[arg-type]
        num_chains=40,
        warmup_steps=200,
        num_samples=250,
        progress=False,
    )
    z = posterior.get_samples()["z"][..., 0]
    ess = torch.tensor(posterior.summary().ess).reshape(4)
    for i, (mean, sd) in enumerate(expected):
        assert float(z[:, i].mean()) == pytest.approx(mean, abs=float(6 * sd / ess[i] ** 0.5))
        assert float(z[:, i].std()) == pytest.approx(sd, abs=float(6 * sd * (1.5 / ess[i]) ** 0.5))
        assert sd < 0.9


@pytest.mark.slow
def test_digits_are_learned_from_random_projections_alone() -> None:
    """Experiment 6 of Han et al., small: no image is ever seen, only 32 numbers of each.

    Measured: root mean square .14 of the range of pixel values, where the images' mean, which the
    projections alone could not tell, has .27 and the pseudo-inverse of the projection .28.
    """
    images = torch.from_numpy(digits(0.5, seed=0, num_train=1400).train)
    operator = operators.RandomProjection((8, 8), 32, seed=0)
    y = operator(images)
    network = mlp(16, (8, 8), hidden=(128, 128))
    model = GeneratorModel(Normal(16), network, Sensed(Gaussian(0.3, torch.tanh), operator))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    abp = AlternatingBackProp(model, inference_steps=10, optimizer=optimizer, batch_size=100)
    fit = abp.fit(y, epochs=60, seed=0, progress=False)
    recovered = model.decode(fit.latents).detach()

    def error(guess: Tensor) -> float:
        return float((guess - images).square().mean().sqrt()) / 2

    inverse = torch.linalg.pinv(operator.matrix)
    assert error(recovered) < 0.7 * error(images.mean(0))
    assert error(recovered) < 0.7 * error((y @ inverse.mT).reshape(-1, 8, 8))
