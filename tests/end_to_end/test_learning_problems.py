"""The maxima that the benchmark of learning measures from: exact, largest, reached by the truth."""

import numpy as np
import pyro
import pytest
import torch
from scipy.stats import chi2
from torch.distributions import Normal as Distribution

from benchmarks.learning import latent_problems, linear_problems
from benchmarks.learning.known import KnownMaximum, maximise
from benchmarks.learning.marginals import affine_of, integrated, normal_log_density, normal_prior
from benchmarks.learning.problems import KNOWN
from explainaway.inference import AlternatingBackProp, LearningWarning
from explainaway.models import (
    VAR,
    FactorAnalysis,
    Gaussian,
    GeneratorModel,
    Normal,
    OverTime,
    linear,
)
from explainaway.models.priors import Laplace

from ..models.dynamics.kalman import LinearSystem, smooth


@pytest.fixture(scope="module", params=KNOWN.values(), ids=lambda make: make.__name__)
def problem(request: pytest.FixtureRequest) -> KnownMaximum:
    made: KnownMaximum = request.param()
    assert made.name == request.param.__name__
    return made


def test_nothing_near_the_maximum_is_more_likely(problem: KnownMaximum) -> None:
    """60 random directions, at three distances: the gap is positive, and grows."""
    generator = torch.Generator().manual_seed(0)
    best = problem.maximum.parameters
    for _ in range(60):
        direction = {
            # Further off a transition would not be stable.
            name: (0.1 if name == "transition" else 1.0)
            * torch.randn(value.shape, generator=generator).double()
            for name, value in best.items()
        }
        near, further, far = (
            problem.gap_at({name: best[name] + t * direction[name] for name in best}).nats
            for t in (0.003, 0.03, 0.3)
        )
        assert 0 < near < further < far


def test_other_starts_lead_no_higher(problem: KnownMaximum) -> None:
    """Three starts half a unit away: to the same maximum, or to a lower one."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        start = {
            name: value + 0.5 * torch.randn(value.shape, generator=generator).double()
            for name, value in (problem.truth or problem.maximum.parameters).items()
        }
        if problem.name == "var":
            start["transition"] = 0.5 * torch.eye(2).double()
        found = maximise(problem.log_likelihood, start)
        assert problem.gap_at(found).nats > -1e-7


def test_the_truth_is_as_far_below_as_theory_says(problem: KnownMaximum) -> None:
    """``2 n gap`` is chi-squared with as many degrees of freedom as θ has (Wilks).

    Bounds of 1e-5 on either side; a rotation of the latents is no degree of freedom.
    """
    if problem.truth is None:
        pytest.skip("real data")
    freedom = sum(value.numel() for value in problem.truth.values())
    # var: (A, C) are unique up to a rotation of two latents.
    d = problem.truth["weight"].shape[1] if "weight" in problem.truth else 0
    freedom -= d * (d - 1) // 2
    n = len(problem.maximum.log_likelihood)
    low, high = chi2.ppf([1e-5, 1 - 1e-5], freedom) / (2 * n)
    assert low < problem.gap_at(problem.truth).nats < high


def test_a_fresh_model_stands_far_below(problem: KnownMaximum) -> None:
    trial = problem.make(0, False)
    AlternatingBackProp(trial.model).start(*trial.args, **trial.kwargs)
    gap = problem.gap(trial.model)
    assert gap.nats > 0.1
    assert gap.nats > 3 * gap.standard_error


def test_the_truth_put_into_a_linear_model_has_its_gap() -> None:
    """The way from a model to θ: through float32, so up to 1e-4 nats."""
    for make in (linear_problems.ppca, linear_problems.factor_analysis):
        problem = make()
        assert problem.truth is not None
        model = problem.make(0, False).model
        with torch.no_grad():
            model.network[0].weight.copy_(problem.truth["weight"])
            model.network[0].bias.copy_(problem.truth["bias"])
            model.observation.log_scale.copy_(problem.truth["log_scale"].squeeze())
        assert problem.gap(model).nats == pytest.approx(
            problem.gap_at(problem.truth).nats, abs=1e-4
        )


def test_a_slope_that_the_way_does_not_lead_along_is_seen() -> None:
    """θ goes somewhere else, so its way gains nothing; the gap is .2 nats all the same."""
    problem = latent_problems.beta_binomial()
    trial = problem.make(0, False)
    with pytest.warns(LearningWarning, match="the loss still has a slope, worth at least"):
        fit = AlternatingBackProp(trial.model).fit(*trial.args, epochs=15, progress=False)
    assert problem.gap(trial.model).nats > 0.1
    assert fit.gain is not None
    assert not fit.gain.is_seen
    assert fit.converged is False


def test_the_truth_put_into_a_sequence_model_has_its_gap() -> None:
    """Latents of any scale: A and Q, C and σ are those of a system that is equivalent."""
    problem = linear_problems.var()
    assert problem.truth is not None
    transition, weight = problem.truth["transition"], problem.truth["weight"]
    change = torch.tensor([[2.0, 0.3], [-0.4, 0.5]]).double()
    back = torch.linalg.inv(change)
    innovation = change @ (torch.eye(2).double() - transition @ transition.T) @ change.T
    prior = VAR(2, 20, change @ transition @ back, innovation, learn=True)
    network = OverTime(linear(2, 6))
    model = GeneratorModel(prior, network, Gaussian(0.5))
    with torch.no_grad():
        network.network[0].weight.copy_(weight @ back)
        network.network[0].bias.copy_(problem.truth["bias"])
    assert problem.gap(model).nats == pytest.approx(problem.gap_at(problem.truth).nats, abs=1e-3)


def test_the_truth_put_into_pyros_store_has_its_gap() -> None:
    problem = latent_problems.random_intercepts()
    assert problem.truth is not None
    trial = problem.make(0, False)
    AlternatingBackProp(trial.model).start(*trial.args)
    with torch.no_grad():
        for name in ("intercept", "slopes"):
            pyro.param(name).copy_(problem.truth[name])
        for name in ("spread", "noise"):
            # The parameter itself is the logarithm.
            pyro.get_param_store().get_param(name).unconstrained().copy_(
                problem.truth[f"log_{name}"]
            )
    assert problem.gap(trial.model).nats == pytest.approx(
        problem.gap_at(problem.truth).nats, abs=1e-5
    )


def test_a_normal_prior_is_absorbed() -> None:
    loc, scale = torch.tensor([0.5, -2.0]), torch.tensor([3.0, 0.2])
    model = GeneratorModel(Normal(2, loc, scale), linear(2, 4), Gaussian())
    mean, factor = normal_prior(model)
    assert torch.allclose(mean, loc.double())
    assert torch.allclose(factor, scale.double().diag())
    weight, bias = affine_of(model)
    layer = model.network[0]
    assert torch.allclose(weight, (layer.weight * scale).detach().double())
    assert torch.allclose(bias, (layer.weight @ loc + layer.bias).detach().double())


def test_a_prior_that_is_not_normal_is_refused() -> None:
    with pytest.raises(ValueError, match="must be normal"):
        normal_prior(GeneratorModel(Laplace(2), linear(2, 4), Gaussian()))


def test_rows_with_hidden_cells_are_those_of_factor_analysis() -> None:
    y, _ = linear_problems.diabetes(0.3)
    problem = linear_problems.diabetes_linear()
    fitted = FactorAnalysis(4, tol=1e-3).fit(y.double().numpy())
    parameters = {
        "weight": torch.from_numpy(fitted.components_.T.copy()),
        "bias": torch.from_numpy(fitted.mean_),
        "log_scale": torch.from_numpy(fitted.noise_variance_).log() / 2,
    }
    ours = problem.log_likelihood(parameters)
    assert np.allclose(ours.numpy(), fitted.score_samples(y.double().numpy()))


def test_sequences_are_those_of_a_kalman_filter() -> None:
    problem = linear_problems.var()
    assert problem.truth is not None
    (y,) = problem.make(0, False).args
    transition = problem.truth["transition"]
    system = LinearSystem(
        transition,
        torch.eye(2).double() - transition @ transition.T,
        problem.truth["weight"],
        problem.truth["bias"],
        float((2 * problem.truth["log_scale"]).exp()),
    )
    expected = smooth(system, y.double()).log_likelihood
    assert torch.allclose(problem.log_likelihood(problem.truth), expected)


def test_quadrature_is_exact_where_the_answer_is_known() -> None:
    """Normal data around a normal latent, with posteriors down to two nodes wide."""
    y = torch.tensor([-6.0, -1.0, 0.3, 4.0]).double()
    for noise in (1.0, 0.1, 0.04):
        found = integrated(lambda z, s=noise: Distribution(z, s).log_prob(y[:, None]))
        expected = Distribution(torch.zeros(()).double(), (1 + noise**2) ** 0.5).log_prob(y)
        assert torch.allclose(found, expected, atol=1e-9)


def test_hidden_cells_are_left_out_of_a_normal_density() -> None:
    y = torch.randn(3, 4).double()
    y[0, 1] = y[2, 0] = y[2, 3] = torch.nan
    mean = torch.randn(4).double()
    root = torch.randn(4, 4).double()
    covariance = root @ root.T + torch.eye(4).double()
    found = normal_log_density(y, mean, covariance)
    for row, value in zip(y, found, strict=True):
        seen = ~row.isnan()
        its = torch.distributions.MultivariateNormal(mean[seen], covariance[seen][:, seen])
        assert torch.allclose(value, its.log_prob(row[seen]))
