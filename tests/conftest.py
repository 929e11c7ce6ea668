"""What tests share: a seed before each, a generator with closed forms, what graphs are held to."""

from collections.abc import Iterator
from typing import NamedTuple

import pyro
import pytest
import torch
from torch import Tensor

from explainaway.inference.potentials.potential import Potential
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp


@pytest.fixture(autouse=True)
def _fresh_random_state() -> Iterator[None]:
    torch.manual_seed(0)
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


class LinearGaussian(NamedTuple):
    """``y = W z + b + ε``: its model and its exact posterior."""

    model: GeneratorModel
    weight: Tensor
    bias: Tensor
    scale: float

    def posterior(self, y: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the exact posterior means (n, d) and covariances (n, d, d)."""
        seen = torch.ones_like(y, dtype=torch.bool) if observed is None else observed
        weights = seen.to(y.dtype)[:, :, None] * self.weight
        identity = torch.eye(self.weight.shape[1], dtype=y.dtype)
        precision = identity + weights.mT @ weights / self.scale**2
        covariance = torch.linalg.inv(precision)
        residual = torch.where(seen, y.nan_to_num() - self.bias, 0.0)
        right = (weights.mT @ residual[:, :, None]) / self.scale**2
        return (covariance @ right)[:, :, 0], covariance


def linear_gaussian(
    weight: Tensor, scale: float = 1.0, bias: Tensor | None = None
) -> LinearGaussian:
    """Return a linear generator with given loadings (columns, d), in their dtype."""
    columns, d = weight.shape
    bias = torch.zeros(columns, dtype=weight.dtype) if bias is None else bias
    network = mlp(d, columns, hidden=())
    model = GeneratorModel(Normal(d), network, Masked(Gaussian(scale))).to(weight.dtype)
    with torch.no_grad():
        network[0].weight.copy_(weight)
        network[0].bias.copy_(bias)
    return LinearGaussian(model, weight, bias, scale)


def assert_as_plain(potential: Potential, z: Tensor, parameters: list[Tensor]) -> None:
    """Assert that energies and gradients, of z and of parameters, are those of the model itself."""
    energy, gradient = potential(z)
    expected = potential.plain()(z)
    # Sums of some hundred products of float32 in another order.
    torch.testing.assert_close(energy, expected[0], rtol=1e-5, atol=1e-2)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-4, atol=1e-2)
    _, gradients = potential.loss_and_gradients(z, parameters)
    torch.testing.assert_close(
        gradients,
        list(torch.autograd.grad(potential.loss(z), parameters)),
        rtol=1e-4,
        atol=1e-3,
    )
