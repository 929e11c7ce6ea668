"""Normal priors over parameters: the mode of their posterior, against closed forms."""

import math
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import AlternatingBackProp
from explainaway.models import Gaussian, GeneratorModel, Normal, linear


def _factors(y: Tensor) -> GeneratorModel:
    """Return one factor of each column's standard deviation 1, ``y ~ N(0, w wᵀ + I)``."""
    model = GeneratorModel(Normal(1), linear(1, y.shape[1], bias=False), Gaussian(1.0))
    nn.init.constant_(model.network[0].weight, 0.5)
    return model


def _mode(y: Tensor, deviation: float) -> Tensor:
    """Return the w that maximises the likelihood of all rows times the prior's density."""
    n, d = y.shape
    w = torch.full((d,), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")
    square = y.double().T @ y.double() / n

    def closure() -> Tensor:
        optimizer.zero_grad()
        covariance = torch.outer(w, w) + torch.eye(d, dtype=torch.float64)
        nats = 0.5 * (torch.logdet(covariance) + torch.linalg.solve(covariance, square).trace())
        loss = nats + 0.5 * (w**2).sum() / (deviation**2 * n)
        loss.backward()
        return loss

    optimizer.step(closure)
    return w.detach()


@pytest.mark.parametrize("own_optimizer", [False, True])
def test_learning_goes_to_the_mode_of_the_posterior(own_optimizer: bool) -> None:
    torch.manual_seed(0)
    y = torch.randn(200, 1) * torch.tensor([1.0, 2.0, -1.5]) + torch.randn(200, 3)
    deviation = 0.15
    expected, without = _mode(y, deviation), _mode(y, 1e6)

    def adam(parameters: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=0.02)

    found = []
    for seed in range(4):
        model = _factors(y)
        fit = AlternatingBackProp(
            model,
            optimizer=adam if own_optimizer else None,
            inference_steps=4,
            batch_size=50,
            weight_prior={"network.*": deviation},
            average_from=80,
        ).fit(y, epochs=240, seed=seed, progress=False)
        # The prior is part of what the verdict looks at: no slope is left at the mode.
        assert fit.score_gain is not None
        assert fit.score_gain.nats < 4 * fit.score_gain.error
        assert fit.averaged is not None
        (w,) = fit.averaged.values()
        found.append(w[:, 0] * w[1, 0].sign())
    mean, spread = torch.stack(found).mean(0), torch.stack(found).std(0)
    # Four standard errors of the mean of four runs, and .005 for the way that is left.
    allowed = 4 * spread.max() / math.sqrt(len(found)) + 0.005
    errors = (mean - expected).abs()
    assert errors.max() < allowed, (mean, expected, spread)
    assert (without - expected).abs().max() > 5 * allowed


def test_patterns_are_of_names_and_the_first_that_fits_counts() -> None:
    model = GeneratorModel(Normal(2), linear(2, 3), Gaussian(1.0, learn_scale=True))
    loop = AlternatingBackProp(model, weight_prior={"*.weight": 0.5, "network.*": 2})
    loop.start(torch.randn(10, 3))
    assert loop._run is not None
    learner = loop._run.learner
    found = {name: learner.precision.get(id(p)) for name, p in learner.parameters.items()}
    assert found == {
        "network.0.weight": 1 / (0.25 * 10),
        "network.0.bias": 1 / (4 * 10),
        "observation.log_scale": None,
    }


def test_parameters_of_any_pyro_model_may_have_one() -> None:
    """Known latents leave a quadratic: its minimum is that of ridge regression."""
    pyro.clear_param_store()
    x, y = torch.randn(50, 2), torch.randn(50)

    def regression(x: Tensor, y: Tensor) -> None:
        w = pyro.param("w", torch.zeros(2))
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(x @ w, 1.0), obs=y)

    loop = AlternatingBackProp(
        regression,
        inference_steps=1,
        batch_size=50,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.3),
        weight_prior={"w": 0.2},
    )
    loop.fit(x, y, epochs=300, progress=False)
    ridge = torch.linalg.solve(x.T @ x + torch.eye(2) / 0.2**2, x.T @ y)
    torch.testing.assert_close(pyro.param("w").detach(), ridge, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"network.*": -1.0}, ValueError, r"weight_prior\['network.\*'\] must be a positive"),
        ({"network.*": "1"}, ValueError, "must be a positive standard deviation, got '1'"),
        ({"network.*": math.inf}, ValueError, "must be a positive standard deviation, got inf"),
        (1.0, TypeError, "weight_prior must be a mapping from patterns"),
        ({0: 1.0}, TypeError, "weight_prior must be a mapping from patterns"),
    ],
)
def test_what_is_no_prior_is_refused(given: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        AlternatingBackProp(_factors(torch.zeros(1, 3)), weight_prior=given)


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    loop = AlternatingBackProp(_factors(torch.zeros(1, 3)), weight_prior={"decoder.*": 1.0})
    with pytest.raises(ValueError, match=r"names 'decoder.\*', which fits none .*network.0.weight"):
        loop.fit(torch.randn(10, 3), epochs=1, progress=False)


def test_a_checkpoint_is_of_its_prior(tmp_path: Path) -> None:
    y, path = torch.randn(10, 3), tmp_path / "run.pt"
    one, other = (
        AlternatingBackProp(_factors(y), weight_prior={"network.*": deviation})
        for deviation in (0.5, 0.6)
    )
    one.fit(y, epochs=1, checkpoint=path, progress=False)
    with pytest.raises(ValueError, match="weight prior"):
        other.fit(y, epochs=2, checkpoint=path, progress=False)
