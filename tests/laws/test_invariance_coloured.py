"""Kernels leave the exact posterior where it is when noise is correlated and cells are missing.

Draw (z, y) from the exact joint, move z by the kernel given y: (z', y) must have the same joint
distribution. 15 moments of 20,000 independent pairs are compared with |z| < 6: a false failure has
probability 15 * 2e-9 for each observation.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import MALA, bind
from explainaway.models import (
    ColoredGaussian,
    GeneratorModel,
    LowRankGaussian,
    Masked,
    MultivariateGaussian,
    Normal,
    Observation,
    mlp,
)
from explainaway.models.observations import colored_gaussian

NUM = 20_000
AMPLITUDE = torch.tensor([1.5, 0.7, 0.3, 0.7])


def _low_rank() -> Observation:
    noise = LowRankGaussian(4, 1, 0.5, learn_covariance=False)
    noise.loadings.copy_(torch.tensor([[1.0, -0.5, 0.8, 0.3]]))
    return noise


OBSERVATIONS: dict[str, Callable[[], Observation]] = {
    "colored": lambda: ColoredGaussian(4, AMPLITUDE),
    "padded": lambda: ColoredGaussian(3, AMPLITUDE, padding=1),
    "low rank": _low_rank,
    "dense": lambda: MultivariateGaussian(torch.eye(4) * 0.3 + 0.2),
}


def _moments(z: Tensor, y: Tensor) -> Tensor:
    """Return 15 functions of each pair, (n, 15)."""
    y = y.nan_to_num()
    a, b = z[:, 0], z[:, 1]
    columns = [a, b, a**2, b**2, a * b, a**3, b**3, a.cos(), b.cos()]
    columns += [z[:, i] * y[:, j] for i in range(2) for j in range(3)]
    return torch.stack(columns, 1)


def _largest_z(model: GeneratorModel, y: Tensor, z: Tensor, kernel: Any) -> float:
    potential = bind(model, y)
    state = kernel.init(z, potential)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        state, _ = kernel.step(state, potential, generator)
    difference = (_moments(state.position, y) - _moments(z, y)).double()
    return float((difference.mean(0) / (difference.std(0) / NUM**0.5)).abs().max())


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, 128) for name in OBSERVATIONS] + [("colored", 0), ("padded", 0)],
    ids=lambda value: {128: "by matrices", 0: "matrix-free"}.get(value, value),
)
def test_mala_leaves_the_posterior_invariant(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colored_gaussian, "DENSE_CELLS", size)
    model = _model(OBSERVATIONS[name]())
    z, y = _joint(model)
    assert _largest_z(model, y, z, MALA(0.8)) < 6


def _model(observation: Observation) -> GeneratorModel:
    cells = 3 if getattr(observation, "shape", None) == (3,) else 4
    return GeneratorModel(Normal(2), mlp(2, (cells,), hidden=(8,)), Masked(observation))


def _joint(model: GeneratorModel) -> tuple[Tensor, Tensor]:
    z = torch.randn(NUM, 2)
    with torch.no_grad():
        y = model.observation.distribution(model.network(z)).sample()
    return z, torch.where(torch.rand(y.shape) < 0.6, y, torch.nan)


def test_a_marginal_that_forgets_the_hidden_cells_is_found_out() -> None:
    """Noise of the observed cells as if they were the whole ring: zeros in the hidden ones."""
    torch.manual_seed(2)
    model = _model(ColoredGaussian(4, AMPLITUDE))
    with torch.no_grad():
        model.network[-1].weight.mul_(4)
    z, y = _joint(model)

    class Forgetful(ColoredGaussian):
        def covariance(self, mask: Tensor | None = None) -> Any:
            return super().covariance(None)

    wrong = GeneratorModel(Normal(2), model.network, Masked(Forgetful(4, AMPLITUDE)))
    assert _largest_z(model, y, z, MALA(0.8)) < 6
    assert _largest_z(wrong, y, z, MALA(0.8)) > 10
