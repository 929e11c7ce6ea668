"""Values known only by limits: case 16 and what follows from it."""

from typing import Any

import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, bind
from explainaway.models import Censored, Gaussian, GeneratorModel, Masked, Normal, Sensed, mlp
from explainaway.models import operators as ops
from explainaway.models.distributions.censored_cells import CensoredCells

NAN = float("nan")


def test_a_value_below_a_detection_limit_tells_only_that() -> None:
    """Case 16: log Φ((c - μ)/σ), whatever number stands for "less than c"."""
    observation = Censored(Gaussian(0.7), lower=0.5)
    output = torch.tensor([[1.3, 1.3, 1.3]])
    expected = float(scipy.stats.norm(1.3, 0.7).logcdf(0.5))
    for stands in (0.5, 0.0, -100.0):
        y = torch.full((1, 3), stands)
        got = observation.distribution(output).log_prob(y)
        assert float(got) == pytest.approx(3 * expected, rel=1e-5)
    exact = observation.distribution(output).log_prob(torch.full((1, 3), 0.6))
    assert float(exact) == pytest.approx(
        3 * float(scipy.stats.norm(1.3, 0.7).logpdf(0.6)), rel=1e-5
    )


FAMILIES: dict[str, tuple[Any, Any]] = {
    "laplace": (lambda o: dist.Laplace(o, 0.7), lambda o: scipy.stats.laplace(o, 0.7)),
    "logistic": (lambda o: dist.Logistic(o, 0.7), lambda o: scipy.stats.logistic(o, 0.7)),
    "student t": (lambda o: dist.StudentT(4.0, o, 0.7), lambda o: scipy.stats.t(4, o, 0.7)),
    "log-normal": (
        lambda o: dist.LogNormal(o, 0.7).to_event(1),
        lambda o: scipy.stats.lognorm(0.7, scale=o.exp()),
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_censored_on_both_sides_and_within_intervals(name: str) -> None:
    make, reference = FAMILIES[name]
    observation = Censored(make, lower=0.5, upper=2.0)
    output = torch.tensor([[0.9, -0.3, 1.0, 0.4, 0.8, 0.2]], dtype=torch.double)
    y = torch.tensor([[0.5, 2.0, 1.2, 1.0, 1.0, 0.5]], dtype=torch.double)
    context = {
        "lower": torch.tensor([[NAN, NAN, NAN, 0.7, 3.0, NAN]], dtype=torch.double),
        "upper": torch.tensor([[NAN, NAN, NAN, 1.9, NAN, 0.2]], dtype=torch.double),
    }
    r = reference(output[0])
    expected = torch.tensor(
        [
            r.logcdf(0.5)[0],
            r.logsf(2.0)[1],
            r.logpdf(1.2)[2],
            torch.tensor(r.cdf(1.9) - r.cdf(0.7)).log()[3],
            r.logsf(3.0)[4],
            r.logcdf(0.2)[5],
        ]
    )
    got = observation.distribution(output, context=context).log_prob(y)
    assert float(got) == pytest.approx(float(expected.sum()), rel=1e-9)


def test_counts_include_the_limit() -> None:
    observation = Censored(lambda output: dist.Poisson(output.exp()), lower=1.0, upper=6.0)
    output = torch.tensor([[0.4, 1.5, 1.0, 1.2]], dtype=torch.double)
    y = torch.tensor([[1.0, 6.0, 3.0, 4.0]], dtype=torch.double)
    context = {"lower": torch.tensor([[NAN, NAN, NAN, 2.0]], dtype=torch.double)}
    r = scipy.stats.poisson(output[0].exp())
    expected = r.logcdf(1)[0] + r.logsf(5)[1] + r.logpmf(3)[2] + r.logsf(1)[3]
    got = observation.distribution(output, context=context).log_prob(y)
    assert float(got) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("name", ["normal", "poisson", *FAMILIES])
def test_density_gradients_are_those_of_finite_differences(name: str) -> None:
    bases: dict[str, Any] = {
        "normal": Gaussian(0.7),
        "poisson": lambda output: dist.Poisson(output.exp()),
        **{key: make for key, (make, _) in FAMILIES.items()},
    }
    observation = Masked(Censored(bases[name], lower=1.0, upper=3.0)).double()
    output = torch.randn(2, 4, dtype=torch.double, requires_grad=True)
    y = torch.tensor([[1.0, 2.0, 3.0, 2.0], [2.0, 1.0, 2.0, 3.0]], dtype=torch.double)
    context = {"lower": torch.full((2, 4), NAN), "upper": torch.full((2, 4), NAN)}
    context["lower"][1, 2], context["upper"][1, 2] = 1.0, 5.0
    mask = torch.tensor([[True, True, True, False], [False, True, False, True]])
    for given in (None, mask):

        def log_prob(value: Tensor, given: Tensor | None = given) -> Tensor:
            return observation.distribution(value, mask=given, context=context).log_prob(y)

        assert torch.autograd.gradcheck(log_prob, (output,), fast_mode=True)


def test_a_limit_of_a_cell_wins_over_value_fixed_limit_and_mask() -> None:
    observation = Masked(Censored(Gaussian(1.0), upper=2.0))
    context = {"lower": torch.tensor([[0.3, NAN]]), "upper": torch.tensor([[NAN, NAN]])}
    output = torch.zeros(1, 2)
    expected = float(scipy.stats.norm.logsf(0.3))
    for stands, seen in ((0.1, True), (5.0, True), (NAN, True), (0.1, False)):
        y, mask = observation.prepare(torch.tensor([[stands, NAN]]), torch.tensor([[seen, True]]))
        got = observation.distribution(output, mask=mask, context=context).log_prob(y)
        assert float(got) == pytest.approx(expected, rel=1e-5)


def test_either_key_of_the_context_may_be_left_out() -> None:
    observation = Censored(Gaussian(1.0))
    y, output = torch.zeros(1, 1), torch.zeros(1, 1)
    only = {"upper": torch.tensor([[-1.0]])}
    got = observation.distribution(output, context=only).log_prob(y)
    assert float(got) == pytest.approx(float(scipy.stats.norm.logcdf(-1)), rel=1e-5)
    plain = observation.distribution(output).log_prob(y)
    assert float(plain) == pytest.approx(float(scipy.stats.norm.logpdf(0)), rel=1e-5)


def test_hidden_cells_leave_the_prior_and_do_not_matter() -> None:
    model = GeneratorModel(
        Normal(2), mlp(2, (3,), hidden=(8,)), Masked(Censored(Gaussian(0.5), -0.3, 0.3))
    )
    y, z = torch.randn(4, 3), torch.randn(4, 2)
    mask = torch.tensor([[False] * 3, [True] * 3, [True, False, True], [False, True, False]])
    energy, gradient = bind(model, y, mask=mask)(z)
    torch.testing.assert_close(energy[0], -Normal(2).distribution().log_prob(z)[0])
    torch.testing.assert_close(gradient[0], z[0])
    absurd = bind(model, torch.where(mask, y, 1e6), mask=mask)(z)
    assert torch.equal(absurd[0], energy)
    assert torch.equal(absurd[1], gradient)


def test_far_out_in_the_tail_energy_and_gradient_are_finite_in_float32() -> None:
    for base in (Gaussian(0.01), *(make for make, _ in list(FAMILIES.values())[:3])):
        output = torch.tensor([[-1e3, 1e3]], requires_grad=True)
        made = Censored(base, lower=-1.0, upper=1.0).distribution(output)
        density = made.log_prob(torch.tensor([[1.0, -1.0]]))
        assert density.isfinite().all()
        (gradient,) = torch.autograd.grad(density.sum(), output)
        assert gradient.isfinite().all()
        assert gradient[0, 0] > 0 > gradient[0, 1]


def test_draws_are_recorded_as_the_limits_and_the_mean_is_theirs() -> None:
    for cells in (
        dist.Normal(torch.tensor([[-0.5, 0.2, 1.4]]), 0.8),
        dist.Poisson(torch.tensor([[0.5, 1.5, 4.0]])),
    ):
        for lower, upper in ((0.0, 1.0), (None, 1.0), (0.0, None)):
            made = CensoredCells(
                cells,
                None if lower is None else torch.tensor(lower),
                None if upper is None else torch.tensor(upper),
            )
            draws = made.sample((200_000,))
            assert float(draws.min()) >= (-torch.inf if lower is None else lower)
            assert float(draws.max()) <= (torch.inf if upper is None else upper)
            # Six standard errors: false failure 2e-9 for each of 18 means.
            error = 6 * draws.std(0) / 200_000**0.5
            assert ((draws.mean(0) - made.mean).abs() < error + 1e-5).all()
            at_limit = made.expand((2, 3)).log_prob(torch.full((2, 3), upper or 0.0)).exp()
            if upper is not None:
                share = (draws >= upper).float().mean(0)
                error = 6 * (share * (1 - share) / 200_000).sqrt()
                assert ((share - at_limit[0]).abs() <= error + 1e-5).all()


def test_complete_gives_conditional_means_within_the_limits() -> None:
    observation = Masked(Censored(Gaussian(1.0), lower=-0.5, upper=2.0))
    output = torch.tensor([[0.3, 0.3, 0.3, 0.3, 0.3]], dtype=torch.double)
    y = torch.tensor([[-0.5, 2.0, 0.7, NAN, NAN]], dtype=torch.double)
    limits = torch.tensor([[NAN, NAN, NAN, 0.9, NAN]], dtype=torch.double)
    context = {"lower": limits, "upper": limits + 0.4}
    filled, mask = observation.prepare(y, None)
    got = observation.double().complete(output, filled, mask, context)[0]
    normal = scipy.stats.norm(0.3, 1.0)
    assert float(got[0]) == pytest.approx(
        normal.expect(lb=-15, ub=-0.5, conditional=True), rel=1e-6
    )
    assert float(got[1]) == pytest.approx(normal.expect(lb=2.0, ub=20, conditional=True), rel=1e-6)
    assert float(got[2]) == 0.7
    assert float(got[3]) == pytest.approx(normal.expect(lb=0.9, ub=1.3, conditional=True), rel=1e-6)
    assert float(got[4]) == 0.3
    assert torch.equal(observation.reconstruct(output), output)


def test_a_limit_is_compared_in_the_precision_of_the_data() -> None:
    """0.1 in float32 is more than 0.1 in float64: such a value would not be at its limit."""
    observation = Censored(Gaussian(1.0), upper=0.1).double()
    y = torch.full((1, 1), 0.1, dtype=torch.double)
    got = observation.distribution(torch.zeros_like(y)).log_prob(y)
    assert float(got) == pytest.approx(float(scipy.stats.norm.logsf(0.1)), rel=1e-6)
    single = Censored(Gaussian(1.0), upper=0.1).distribution(torch.zeros(1, 1))
    assert float(single.log_prob(torch.full((1, 1), 0.1))) == pytest.approx(float(got), rel=1e-5)


def test_limits_may_differ_between_columns() -> None:
    limits = torch.tensor([0.0, 1.0, 2.0])
    got = (
        Censored(Gaussian(1.0), lower=limits)
        .distribution(torch.zeros(2, 3))
        .log_prob(limits.expand(2, 3))
    )
    expected = float(scipy.stats.norm.logcdf([0.0, 1.0, 2.0]).sum())
    torch.testing.assert_close(got, torch.full((2,), expected))


def test_what_stands_for_less_than_the_limit_need_not_be_allowed_itself() -> None:
    """0 for "below .5" in log-normal data, though no log-normal value is 0."""
    model = GeneratorModel(
        Normal(2), mlp(2, (3,), hidden=(8,)), Censored(lambda o: dist.LogNormal(o, 0.5), lower=0.5)
    )
    y = torch.tensor([[0.0, 1.0, 2.0], [0.7, 0.0, 0.0]])
    energy, gradient = bind(model, y)(torch.randn(2, 2))
    assert energy.isfinite().all()
    assert gradient.isfinite().all()


def test_it_is_captured_with_limits_of_cells_as_data() -> None:
    model = GeneratorModel(
        Normal(2), mlp(2, (3,), hidden=(8,)), Masked(Censored(Gaussian(0.5), upper=0.5))
    )
    y, z = torch.randn(5, 3), torch.randn(5, 2)
    lower = torch.where(torch.rand(5, 3) < 0.4, y - 0.5, torch.nan)
    context = {"lower": lower, "upper": lower + 1.0}
    y = torch.where(lower.isnan() & (torch.rand(5, 3) < 0.7), y, torch.nan)
    potential = bind(model, y, context=context)
    for _ in range(2):
        energy, gradient = potential(z)
    position = z.clone().requires_grad_()
    joint = -model.log_joint(y, position, context=context)
    torch.testing.assert_close(energy, joint.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(joint.sum(), position)[0])
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = {key: value[order] for key, value in context.items()}
    again = bind(model, y[order], context=moved)(z[order])
    torch.testing.assert_close(again[0], energy[order])


def test_saturated_measurements_are_learned_from() -> None:
    observation = Masked(Censored(Sensed(Gaussian(0.3), ops.Downsample((4, 4), 2)), upper=0.5))
    model = GeneratorModel(Normal(2), mlp(2, (4, 4), hidden=(8,)), observation)
    y = model.generate(6, seed=0, noise=True)
    assert y.shape == (6, 2, 2)
    assert float(y.max()) <= 0.5
    fit = AlternatingBackProp(model, inference_steps=2, batch_size=3).fit(
        y, epochs=2, progress=False
    )
    filled = model.reconstruct(fit.latents, observed=y)
    exact = y < 0.5
    assert torch.equal(filled[exact], y[exact])
    assert (filled[~exact] > 0.5).all()
