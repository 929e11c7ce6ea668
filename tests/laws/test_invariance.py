"""Kernels leave the exact posterior where it is.

Draw (z, y) from the exact joint, move z by the kernel given y: (z', y) must have the same joint
distribution. 21 moments of 20,000 independent pairs are compared with |z| < 6: a false failure has
probability 21 * 2e-9 for each pair of kernel and observation.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import HMC, MALA, Langevin, bind
from explainaway.models import Bernoulli, Gaussian, GeneratorModel, Masked, Normal, mlp

NUM = 20_000


def _joint(model: GeneratorModel) -> tuple[Tensor, Tensor]:
    z = torch.randn(NUM, 2)
    with torch.no_grad():
        y = model.observation.distribution(model.network(z)).sample()
    return z, torch.where(torch.rand(y.shape) < 0.7, y, torch.nan)


def _moments(z: Tensor, y: Tensor) -> Tensor:
    """Return 21 functions of each pair, (n, 21)."""
    y = y.nan_to_num()
    a, b = z[:, 0], z[:, 1]
    columns = [a, b, a**2, b**2, a * b, a**3, b**3, a.abs(), b.abs(), a.cos(), b.cos(), a**2 * b]
    columns += [z[:, i] * y[:, j] for i in range(2) for j in range(3)]
    columns += [a**2 * y[:, 0], b**2 * y[:, 1], a * b * y[:, 2]]
    return torch.stack(columns, 1)


def _largest_z(model: GeneratorModel, kernel: Any, steps: int) -> float:
    z, y = _joint(model)
    potential = bind(model, y)
    state = kernel.init(z, potential)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        state, _ = kernel.step(state, potential, generator)
    # Paired differences: y is the same, so their variance is what matters.
    difference = (_moments(state.position, y) - _moments(z, y)).double()
    score = difference.mean(0) / (difference.std(0) / NUM**0.5)
    return float(score.abs().max())


OBSERVATIONS = [Masked(Gaussian(0.5, torch.tanh)), Masked(Gaussian(1.0)), Masked(Bernoulli())]


@pytest.mark.parametrize("observation", OBSERVATIONS, ids=["tanh", "gaussian", "bernoulli"])
@pytest.mark.parametrize("kernel", [MALA(0.8), HMC(4, 0.5)], ids=repr)
def test_adjusted_kernels_leave_the_posterior_invariant(kernel: Any, observation: Any) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(8,)), observation)
    assert _largest_z(model, kernel, steps=5) < 6


def test_a_kernel_that_is_wrong_is_found_out() -> None:
    """The plain Langevin at a large step, and a Metropolis step that accepts everything."""
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(8,)), Masked(Gaussian(0.5, torch.tanh)))
    assert _largest_z(model, Langevin(0.8), steps=5) > 10
