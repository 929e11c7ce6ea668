"""What tests share: a seed before each, and the linear-Gaussian generator with its closed forms."""

from collections.abc import Iterator
from typing import NamedTuple

import pyro
import pytest
import torch
from torch import Tensor

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
