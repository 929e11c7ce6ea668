"""Probabilities below, above and between limits, against scipy, mpmath and quadrature."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pyro.distributions as dist
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor

from explainaway.models.distributions.tails import PoissonTails, tails_of

CONTINUOUS: dict[str, tuple[Callable[..., Any], Any]] = {
    "normal": (lambda t: dist.Normal(t(0.3), t(1.7)), scipy.stats.norm(0.3, 1.7)),
    "laplace": (lambda t: dist.Laplace(t(0.3), t(1.7)), scipy.stats.laplace(0.3, 1.7)),
    "logistic": (lambda t: dist.Logistic(t(0.3), t(1.7)), scipy.stats.logistic(0.3, 1.7)),
    "student t": (lambda t: dist.StudentT(t(3.0), t(0.3), t(1.7)), scipy.stats.t(3, 0.3, 1.7)),
    "student t 60": (lambda t: dist.StudentT(t(60.0), t(0.3), t(1.7)), scipy.stats.t(60, 0.3, 1.7)),
    "log-normal": (
        lambda t: dist.LogNormal(t(0.3), t(0.7)),
        scipy.stats.lognorm(0.7, scale=np.exp(0.3)),
    ),
}
COUNTS: dict[str, tuple[Callable[..., Any], Any]] = {
    "poisson .5": (lambda t: dist.Poisson(t(0.5)), scipy.stats.poisson(0.5)),
    "poisson 7": (lambda t: dist.Poisson(t(7.0)), scipy.stats.poisson(7)),
    "poisson 300": (lambda t: dist.Poisson(t(300.0)), scipy.stats.poisson(300)),
    "negative binomial": (
        lambda t: dist.NegativeBinomial(t(3.5), logits=t(1.2)),
        scipy.stats.nbinom(3.5, 1 / (1 + np.exp(1.2))),
    ),
}


def _as(dtype: torch.dtype) -> Callable[[Any], Tensor]:
    return lambda value: torch.as_tensor(value, dtype=dtype)


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 3e-7), (torch.float64, 1e-13)])
def test_tails_are_scipys(name: str, dtype: torch.dtype, error: float) -> None:
    make, reference = CONTINUOUS[name]
    t = _as(dtype)
    values = np.array([-40, -8, -2.0, -0.5, 0.3, 0.31, 1, 3, 9, 30], dtype=np.float32)
    tails = tails_of(make(t))
    for got, log in (
        (tails.log_below(t(values)), reference.logcdf),
        (tails.log_above(t(values)), reference.logsf),
    ):
        expected = log(values.astype(np.float64))
        finite = np.isfinite(expected)
        difference = got.double().numpy()[finite] - expected[finite]
        assert (np.abs(difference) / np.maximum(1, np.abs(expected[finite]))).max() < error
        assert np.array_equal(got.isinf().numpy(), ~finite)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_tails_of_counts_are_scipys(name: str, dtype: torch.dtype, error: float) -> None:
    make, reference = COUNTS[name]
    tails = tails_of(make(_as(dtype)))
    counts = np.array([0, 1, 2, 5, 10, 50, 250, 300, 310, 400], dtype=np.float64)
    for got, expected in (
        (tails.log_below(_as(dtype)(counts)), reference.logcdf(counts)),
        (tails.log_above(_as(dtype)(counts)), reference.logsf(counts - 1)),
    ):
        usable = expected > -600  # where scipy does not underflow
        difference = got.double().numpy()[usable] - expected[usable]
        assert usable.sum() >= 4
        assert (np.abs(difference) / np.maximum(1, np.abs(expected[usable]))).max() < error
        assert got.isfinite().all()


@pytest.mark.parametrize(("rate", "count"), [(2000.0, 3), (0.5, 300), (5000.0, 2000), (1e4, 14000)])
def test_tails_of_counts_do_not_underflow(rate: float, count: int) -> None:
    """Against sums of the probabilities in 50 digits."""
    with mpmath.workdps(50):
        below = float(mpmath.log(mpmath.gammainc(count + 1, rate, mpmath.inf, regularized=True)))
        above = float(mpmath.log(mpmath.gammainc(count, 0, rate, regularized=True)))
    for dtype, error in ((torch.float32, 1e-6), (torch.float64, 1e-9)):
        tails = tails_of(dist.Poisson(torch.tensor(rate, dtype=dtype)))
        at = torch.tensor(float(count), dtype=dtype)
        assert float(tails.log_below(at)) == pytest.approx(below, rel=error, abs=error)
        assert float(tails.log_above(at)) == pytest.approx(above, rel=error, abs=error)


def test_the_normal_tail_has_the_right_gradient_far_out_in_float32() -> None:
    """The gradient of torch.special.log_ndtr is 6.5 times too large at -10,000."""
    for x in (-1e4, -100.0, -20.0, -5.0, 0.0, 3.0, 8.0):
        at = torch.tensor(x, requires_grad=True)
        tails = tails_of(dist.Normal(torch.zeros(()), 1.0))
        (gradient,) = torch.autograd.grad(tails.log_below(at), at)
        reference = scipy.stats.norm
        expected = np.exp(reference.logpdf(x) - reference.logcdf(x)) if x > -30 else -x - 1 / x
        assert float(gradient) == pytest.approx(float(expected), rel=1e-5)


INTERVALS = [(-1.0, 2.0), (3.0, 3.5), (-6.0, -5.5), (8.0, 11.0), (-30.0, -29.0), (-3.0, 9.0)]


@pytest.mark.parametrize("name", [*CONTINUOUS, "cauchy"])
def test_probability_and_mean_between_limits_are_integrals(name: str) -> None:
    make = CONTINUOUS[name][0] if name in CONTINUOUS else None
    for low, high in INTERVALS:
        if name == "log-normal":
            low, high = abs(low), abs(low) + high - low
        cells = make(_as(torch.double)) if make else dist.StudentT(torch.ones(1).double(), 0.3, 1.7)

        def density(y: float, cells: Any = cells) -> float:
            return float(cells.log_prob(torch.tensor(y, dtype=torch.double)).exp())

        middle = [0.3] if low < 0.3 < high else None
        mass = scipy.integrate.quad(density, low, high, points=middle, epsabs=0, epsrel=1e-10)[0]
        tails = tails_of(cells)
        ends = torch.tensor(low).double(), torch.tensor(high).double()
        assert float(tails.log_between(*ends)) == pytest.approx(float(np.log(mass)), abs=1e-8)
        if name == "cauchy":
            continue
        first = scipy.integrate.quad(
            lambda y, start=low: (y - start) * density(y),
            low,
            high,
            points=middle,
            epsabs=0,
            epsrel=1e-10,
        )[0]
        assert float(tails.mean_between(*ends)) == pytest.approx(low + first / mass, rel=1e-7)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_an_open_interval_is_a_tail(name: str) -> None:
    make, reference = CONTINUOUS[name]
    tails = tails_of(make(_as(torch.double)))
    infinity = torch.tensor(torch.inf).double()
    for x in (-5.0, 0.7, 2.0, 9.0):
        at = torch.tensor(x).double()
        torch.testing.assert_close(tails.log_between(-infinity, at), tails.log_below(at))
        torch.testing.assert_close(tails.log_between(at, infinity), tails.log_above(at))
        mass = reference.sf(x)
        # E[Y; Y > x] by the integral of the survival function.
        beyond = scipy.integrate.quad(reference.sf, x, np.inf, epsabs=0, epsrel=1e-9, limit=200)[0]
        assert float(tails.mean_between(at, infinity)) == pytest.approx(x + beyond / mass, rel=1e-6)
        below = tails.mean_between(-infinity, at)
        if x > 0.0 or name != "log-normal":
            total = float(reference.mean())
            expected = (total - (x * mass + beyond)) / reference.cdf(x)
            assert float(below) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", COUNTS)
def test_probability_and_mean_of_counts_between_limits_are_sums(name: str) -> None:
    make, reference = COUNTS[name]
    tails = tails_of(make(_as(torch.double)))
    infinity = float("inf")
    for low, high in [
        (0, 3), (2, 2), (1, 40), (5.5, 9.5), (280, 320), (-1, 4), (-infinity, 3), (4, infinity),
    ]:  # fmt: skip
        counts = np.arange(max(np.ceil(low), 0), min(np.floor(high), 2000) + 1)
        weights = reference.pmf(counts)
        ends = torch.tensor(low).double(), torch.tensor(high).double()
        if weights.sum() < 1e-250:
            continue
        expected = float(np.log(weights.sum()))
        assert float(tails.log_between(*ends)) == pytest.approx(expected, rel=1e-8, abs=1e-9)
        mean = float((weights * counts).sum() / weights.sum())
        assert float(tails.mean_between(*ends)) == pytest.approx(mean, rel=1e-7, abs=1e-7)


def test_a_family_without_a_mean_is_given_what_is_nearest_to_its_centre() -> None:
    tails = tails_of(dist.StudentT(1.0, torch.zeros(1), 1.0))
    limits = torch.tensor([2.0]), torch.tensor([torch.inf])
    assert float(tails.mean_between(*limits)) == 2.0


def test_an_interval_narrower_than_rounding_is_a_rectangle() -> None:
    for dtype in (torch.float32, torch.float64):
        loc = torch.tensor([0.0, 0.5, -3.0], dtype=dtype, requires_grad=True)
        for make, reference in (
            (dist.Normal, scipy.stats.norm),
            (dist.Laplace, scipy.stats.laplace),
            (dist.Logistic, scipy.stats.logistic),
        ):
            tails = tails_of(make(loc, torch.ones(3, dtype=dtype)))
            for width in (1e-2, 1e-4, 1e-6):
                low = torch.full((3,), 1.0, dtype=dtype)
                high = low + width
                got = tails.log_between(low, high)
                (gradient,) = torch.autograd.grad(got.sum(), loc)
                centre = (low + (high - low) / 2 - loc).detach().double().numpy()
                exact_width = (high - low).double().numpy()
                expected = reference.logpdf(centre) + np.log(exact_width)
                tolerance = 5e-4 if dtype == torch.float32 else 1e-4 if width == 1e-2 else 1e-8
                np.testing.assert_allclose(got.detach().double(), expected, atol=tolerance)
                step = 1e-6
                slope = (reference.logpdf(centre - step) - reference.logpdf(centre + step)) / (
                    2 * step
                )
                np.testing.assert_allclose(gradient.double(), slope, atol=2e-2)


PARAMETERS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "normal": lambda a, b: dist.Normal(a, b.exp()),
    "laplace": lambda a, b: dist.Laplace(a, b.exp()),
    "logistic": lambda a, b: dist.Logistic(a, b.exp()),
    "student t": lambda a, b: dist.StudentT(3 * b.exp(), a, 0.5 * b.exp()),
    "log-normal": lambda a, b: dist.LogNormal(a, b.exp()),
    "poisson": lambda a, b: dist.Poisson((a + b).exp()),
    "negative binomial": lambda a, b: dist.NegativeBinomial(b.exp(), logits=a),
}


def _probabilities(name: str) -> tuple[Callable[[Tensor, Tensor], Tensor], tuple[Tensor, Tensor]]:
    """Return a function of two parameters of a family, and where to look at it."""
    a = torch.tensor([-3.1, -0.4, 0.0, 0.9, 4.0], dtype=torch.double, requires_grad=True)
    b = torch.tensor([0.1, -0.5, 0.3, 0.6, 0.2], dtype=torch.double, requires_grad=True)
    low = torch.tensor([1.0, 2.0, 3.0, -torch.inf, 2.0], dtype=torch.double)
    high = torch.tensor([4.0, 3.0, torch.inf, 2.0, 7.0], dtype=torch.double)
    value = torch.tensor([2.0, 1.0, 5.0, 3.0, 1.0], dtype=torch.double)

    def of(a: Tensor, b: Tensor) -> Tensor:
        tails = tails_of(PARAMETERS[name](a, b))
        return torch.stack(
            [tails.log_below(value), tails.log_above(value), tails.log_between(low, high)]
        )

    return of, (a, b)


@pytest.mark.parametrize("name", PARAMETERS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    assert torch.autograd.gradcheck(*_probabilities(name), fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_second_gradients_are_those_of_finite_differences(name: str) -> None:
    assert torch.autograd.gradgradcheck(*_probabilities(name), fast_mode=True)


def test_students_t_is_smooth_through_its_centre() -> None:
    """The gradient of the log of one half plus nothing: 2 f(0)."""
    loc = torch.zeros(1, dtype=torch.double, requires_grad=True)
    tails = tails_of(dist.StudentT(5.0, loc, 1.0))
    (gradient,) = torch.autograd.grad(tails.log_below(torch.zeros(1).double()).sum(), loc)
    assert float(gradient) == pytest.approx(-2 * float(scipy.stats.t(5).pdf(0)))


def test_a_family_without_tails_is_named() -> None:
    with pytest.raises(TypeError, match=r"Gamma has no cumulative distribution.*register"):
        tails_of(dist.Gamma(torch.ones(2), 1.0))


def test_a_family_of_ones_own_is_registered() -> None:
    class Doubled(dist.Poisson):
        """Another class of counts: the most specific entry of the table counts."""

    tails_of.register(Doubled)(lambda cells: PoissonTails(cells, 2 * cells.rate))
    got = tails_of(Doubled(torch.tensor(1.5))).log_below(torch.tensor(2.0))
    assert float(got) == pytest.approx(float(scipy.stats.poisson(3.0).logcdf(2)), rel=1e-6)
