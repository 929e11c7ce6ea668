"""Case 9 of the public failures: dense noise with a missing cell (pymc-devs/pymc-extras#682)."""

import pytest
import torch
from torch import Tensor

from explainaway.inference import bind
from explainaway.models import GeneratorModel, Masked, MultivariateGaussian, Normal, mlp

COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 2.0]], dtype=torch.double)


def _model() -> GeneratorModel:
    network = mlp(1, (2,), hidden=())
    model = GeneratorModel(Normal(1), network, Masked(MultivariateGaussian(COVARIANCE))).double()
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0], [2.0]]))
        network[0].bias.copy_(torch.tensor([5.0, 3.0]))
    return model


def _posterior(y: Tensor) -> tuple[float, float, float]:
    """Return mean and variance of z and log p(y), exactly: the energy is a parabola."""
    at = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.double)
    energy = bind(_model(), y.expand(3, 2))(at)[0]
    curvature = float(energy[0] - 2 * energy[1] + energy[2])
    slope = float(energy[2] - energy[0]) / 2
    log_evidence = -energy[1] + slope**2 / (2 * curvature)
    log_evidence = log_evidence + 0.5 * torch.log(2 * torch.pi / torch.tensor(curvature).double())
    return -slope / curvature, 1 / curvature, float(log_evidence)


@pytest.mark.filterwarnings("ignore:1 of 2 cells are observed in no example")
def test_the_posterior_given_the_observed_column() -> None:
    mean, variance, log_evidence = _posterior(torch.tensor([[torch.nan, 4.0]]).double())
    assert log_evidence == pytest.approx(-1.898152, abs=1e-6)
    assert mean == pytest.approx(1 / 3, abs=1e-9)
    assert variance == pytest.approx(1 / 3, abs=1e-9)


def test_the_posterior_given_both_columns() -> None:
    mean, variance, _ = _posterior(torch.tensor([[6.0, 4.0]]).double())
    assert mean == pytest.approx(0.384615, abs=1e-6)
    assert variance == pytest.approx(0.326923, abs=1e-6)


def test_the_missing_column_is_predicted_from_the_observed_one() -> None:
    """Its mean given y2 is that of the prediction over the posterior of z; so its variance."""
    z = torch.tensor([[1 / 3], [4 / 3]], dtype=torch.double)
    y = torch.tensor([[torch.nan, 4.0]]).double()
    filled = _model().reconstruct(z, observed=y.expand(2, 2)).detach()
    assert float(filled[0, 0]) == pytest.approx(5.466667, abs=1e-6)
    slope = float(filled[1, 0] - filled[0, 0])
    given_z = 1 - 0.8**2 / 2
    assert slope**2 / 3 + given_z == pytest.approx(0.693333, abs=1e-6)
    assert torch.equal(filled[:, 1], y.expand(2, 2)[:, 1])
