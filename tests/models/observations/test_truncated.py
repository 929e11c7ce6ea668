"""Values that are bounded: case 14 and what follows from it."""

from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor

from explainaway.inference import bind
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, Truncated, mlp
from explainaway.models.distributions.truncated_cells import TruncatedCells


def test_bounded_values_are_not_clipped() -> None:
    """Case 14 (scikit-learn/scikit-learn#12177): N(0, 1) restricted to [0, 2]."""
    made = Truncated(Gaussian(1.0), 0.0, 2.0).distribution(torch.zeros(50_000, 1))
    assert float(made.mean[0]) == pytest.approx(0.722790, abs=1e-6)
    draws = made.sample()
    assert float(draws.min()) > 0.0
    assert float(draws.max()) < 2.0
    # Standard errors .0022 and .0013 (the variance of squared deviations is .0885): five of each,
    # false failure 1e-6.
    assert float(draws.mean()) == pytest.approx(0.722790, abs=0.0112)
    assert float(draws.var()) == pytest.approx(0.251316, abs=0.0067)


FAMILIES: dict[str, tuple[Any, Any]] = {
    "normal": (lambda o: dist.Normal(o, 0.7), lambda o: scipy.stats.norm(o, 0.7)),
    "laplace": (lambda o: dist.Laplace(o, 0.7), lambda o: scipy.stats.laplace(o, 0.7)),
    "logistic": (lambda o: dist.Logistic(o, 0.7), lambda o: scipy.stats.logistic(o, 0.7)),
    "student t": (lambda o: dist.StudentT(4.0, o, 0.7), lambda o: scipy.stats.t(4, o, 0.7)),
    "log-normal": (
        lambda o: dist.LogNormal(o, 0.7),
        lambda o: scipy.stats.lognorm(0.7, scale=o.exp()),
    ),
}
LIMITS = [(0.5, 2.0), (None, 2.0), (0.5, None), (3.0, 3.4)]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_density_is_the_bases_over_the_mass(
    name: str, low: float | None, high: float | None
) -> None:
    make, reference = FAMILIES[name]
    output = torch.tensor([[0.9, -0.3, 1.0]], dtype=torch.double)
    r = reference(output)
    start, stop = low or 0.0 if name == "log-normal" else low, high
    mass = (1.0 if stop is None else r.cdf(stop)) - (0.0 if start is None else r.cdf(start))
    log_mass = np.log(mass * np.ones((1, 3)))
    value = 3.2 if low == 3.0 else 1.1
    expected = r.logpdf(value) - log_mass
    got = Truncated(make, low, high).distribution(output).log_prob(torch.full_like(output, value))
    assert float(got) == pytest.approx(float(expected.sum()), rel=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_draws_have_the_distribution(name: str, low: float | None, high: float | None) -> None:
    """Probability integral transform, Kolmogorov-Smirnov: fails by chance at a p-value of 1e-8."""
    make, reference = FAMILIES[name]
    draws = Truncated(make, low, high).distribution(torch.full((5_000, 1), 0.6)).sample()
    r = reference(torch.tensor(0.6).double())
    start = 0.0 if low is None else r.cdf(low)
    stop = 1.0 if high is None else r.cdf(high)
    assert low is None or float(draws.min()) > low
    assert high is None or float(draws.max()) < high
    uniform = (r.cdf(draws[:, 0].double().numpy()) - start) / (stop - start)
    assert scipy.stats.kstest(uniform, "uniform").pvalue > 1e-8


@pytest.mark.parametrize("name", FAMILIES)
def test_far_from_the_limits_draws_and_means_lie_between_them(name: str) -> None:
    make, _ = FAMILIES[name]
    output = torch.tensor([[-30.0, 30.0]]) if name != "log-normal" else torch.tensor([[-9.0, 9.0]])
    made = Truncated(make, 1.0, 2.0).distribution(output.expand(1000, 2))
    for values in (made.sample(), made.mean):
        assert values.isfinite().all()
        assert float(values.min()) >= 1.0
        assert float(values.max()) <= 2.0
    assert float(made.mean[0, 0]) < 1.5 or name == "student t"
    assert float(made.mean[0, 1]) > 1.5


def test_counts_of_at_least_one() -> None:
    cells = dist.Poisson(torch.tensor([[0.1, 1.0, 6.0]]))
    made = TruncatedCells(cells, torch.tensor(1.0), None)
    counts = torch.arange(1.0, 60.0)[:, None, None].expand(-1, 1, 3)
    probability = made.log_prob(counts).exp()
    torch.testing.assert_close(probability.sum(0), torch.ones(1, 3))
    torch.testing.assert_close((counts * probability).sum(0), made.mean)
    assert made.log_prob(torch.zeros(1, 3)).eq(-torch.inf).all()
    draws = made.sample((20_000,))
    # Six standard errors: false failure 2e-9 for each of 9 shares and 3 means.
    for k in (1.0, 2.0, 5.0):
        p = made.log_prob(torch.full((1, 3), k)).exp()
        share = (draws == k).float().mean(0)
        assert ((share - p).abs() <= 6 * (p * (1 - p) / 20_000).sqrt() + 1e-6).all()
    assert ((draws.mean(0) - made.mean).abs() < 6 * draws.std(0) / 20_000**0.5).all()
    at_most = TruncatedCells(cells, None, torch.tensor(2.0)).sample((1000,))
    assert set(at_most.unique().tolist()) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("name", FAMILIES)
def test_density_gradients_are_those_of_finite_differences(name: str) -> None:
    output = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    y = 1 + torch.rand(2, 3, dtype=torch.double)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    for low, high in ((1.0, 2.0), (1.0, None), (None, 2.0)):
        observation = Masked(Truncated(FAMILIES[name][0], low, high)).double()
        for given in (None, mask):

            def log_prob(
                value: Tensor, given: Tensor | None = given, made: Any = observation
            ) -> Tensor:
                density: Tensor = made.distribution(value, mask=given).log_prob(y)
                return density

            assert torch.autograd.gradcheck(log_prob, (output,), fast_mode=True)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (5.0, 5.5), (None, -3.5), (2.5, None), (torch.zeros(3), 2.0)]
)
def test_hidden_cells_are_filled_inside_the_limits_and_do_not_matter(low: Any, high: Any) -> None:
    observation = Masked(Truncated(Gaussian(0.5), low, high))
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(8,)), observation)
    y, z = model.generate(4, seed=0, noise=True), torch.randn(4, 2)
    fill = torch.full((1, 3), observation.base.fill_value)
    support = TruncatedCells(dist.Normal(torch.zeros(1, 3), 1.0), *(
        None if limit is None else torch.as_tensor(limit) for limit in (low, high)
    )).support  # fmt: skip
    assert support.check(fill).all()
    assert support.check(y).all()
    mask = torch.tensor([[False] * 3, [True] * 3, [True, False, True], [False, True, False]])
    energy, gradient = bind(model, y, mask=mask)(z)
    torch.testing.assert_close(energy[0], -Normal(2).distribution().log_prob(z)[0])
    torch.testing.assert_close(gradient[0], z[0])
    absurd = bind(model, torch.where(mask, y, 1e6), mask=mask)(z)
    assert torch.equal(absurd[0], energy)
    assert torch.equal(absurd[1], gradient)


def test_limits_that_have_no_number_in_common_still_hide_cells() -> None:
    observation = Masked(
        Truncated(Gaussian(0.5), torch.tensor([0.0, 5.0]), torch.tensor([1.0, 6.0]))
    )
    model = GeneratorModel(Normal(1), mlp(1, (2,), hidden=()), observation)
    y = torch.tensor([[0.5, torch.nan], [torch.nan, 5.5]])
    energy, gradient = bind(model, y)(torch.randn(2, 1))
    assert energy.isfinite().all()
    assert gradient.isfinite().all()


def test_reconstruct_gives_the_mean_and_decode_the_signal() -> None:
    model = GeneratorModel(Normal(1), mlp(1, (2,), hidden=()), Truncated(Gaussian(1.0), 0.0, 2.0))
    z = torch.randn(5, 1)
    signal = model.network(z)
    assert torch.equal(model.decode(z), signal)
    a, b = -signal.detach().numpy(), 2 - signal.detach().numpy()
    expected = torch.tensor(scipy.stats.truncnorm(a, b, signal.detach()).mean())
    torch.testing.assert_close(model.reconstruct(z).double(), expected, rtol=1e-5, atol=1e-5)
