"""Kernels leave the exact posterior of every family where it is, half of the cells hidden.

As in ``test_invariance``: (z, y) from the exact joint, z moved given y, moments compared with
|z| < 6. It says that a family's sampler, density, gradient and Fisher information belong together.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import HMC, RiemannianMALA, bind
from explainaway.models import (
    Categorical,
    Columns,
    DiscretizedLogistic,
    Gaussian,
    GeneratorModel,
    Masked,
    NegativeBinomial,
    Normal,
    Observation,
    Ordinal,
    Poisson,
    mlp,
)
from explainaway.models.observations import Laplace, StudentT

NUM = 10_000

TABLE = Columns(
    {
        "dose": StudentT(4.0, 0.5),
        "time": Laplace(0.7),
        "visits": Poisson(),
        "falls": NegativeBinomial(0.5),
        "colour": Categorical(3),
        "pain": Ordinal(4),
        "share": DiscretizedLogistic(11, 1.0),
        "age": Gaussian(0.7),
    }
)


def _moments(z: Tensor, y: Tensor) -> Tensor:
    """Return functions of each pair, (n, 27)."""
    a, b = z[:, 0], z[:, 1]
    columns = [a, b, a**2, b**2, a * b, a**3, b**3, a.abs(), b.abs(), a.cos(), b.cos()]
    squashed = y.nan_to_num().tanh()
    columns += [z[:, i] * squashed[:, j] for i in range(2) for j in range(y.shape[1])]
    return torch.stack(columns, 1)


@pytest.mark.parametrize(
    ("kernel", "steps"), [(HMC(4, 0.4), 4), (RiemannianMALA(0.9), 3)], ids=["HMC", "RiemannianMALA"]
)
def test_a_table_of_every_kind_keeps_its_posterior(kernel: Any, steps: int) -> None:
    """False failure: 27 * 2e-9 for each kernel."""
    assert _largest_z(TABLE, 8, kernel, steps) < 6


def _largest_z(
    observation: Observation,
    width: int,
    kernel: Any,
    steps: int,
    drawn_by: Observation | None = None,
) -> float:
    network = mlp(2, observation.output_shape((width,)), hidden=(8,))
    model = GeneratorModel(Normal(2), network, Masked(observation))
    z = torch.randn(NUM, 2)
    with torch.no_grad():
        y = (drawn_by or observation).distribution(model.network(z)).sample()
    y = torch.where(torch.rand(y.shape) < 0.5, y, torch.nan)
    potential = bind(model, y)
    state = kernel.init(z, potential)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        state, info = kernel.step(state, potential, generator)
    assert float(info.acceptance_rate.mean()) > 0.5
    assert float((state.position - z).abs().mean()) > 0.2
    difference = (_moments(state.position, y) - _moments(z, y)).double()
    return float((difference.mean(0) / (difference.std(0) / NUM**0.5)).abs().max())


def test_draws_that_do_not_belong_to_the_density_are_found_out() -> None:
    """Noise three times as wide as the model takes it to be."""
    assert _largest_z(Laplace(0.3), 4, HMC(4, 0.2), 8, drawn_by=Laplace(0.9)) > 10
