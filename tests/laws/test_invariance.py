"""Kernels leave the exact posterior where it is.

Draw (z, y) from the exact joint, move z by the kernel given y: (z', y) must have the same joint
distribution. 21 moments of 20,000 independent pairs are compared with |z| < 6: a false failure has
probability 21 * 2e-9 for each pair of kernel and observation.
"""

from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from explainaway.inference import (
    HMC,
    MALA,
    Langevin,
    ParallelTempering,
    RiemannianMALA,
    bind,
)
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


def _largest_z(
    model: GeneratorModel, kernel: Any, steps: int, scale: Tensor | None = None
) -> float:
    z, y = _joint(model)
    potential = bind(model, y)
    state = kernel.init(z, potential)
    if scale is not None:
        state = state._replace(scale=scale)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        state, _ = kernel.step(state, potential, generator)
    # Paired differences: y is the same, so their variance is what matters.
    difference = (_moments(state.position, y) - _moments(z, y)).double()
    score = difference.mean(0) / (difference.std(0) / NUM**0.5)
    return float(score.abs().max())


OBSERVATIONS = [Masked(Gaussian(0.5, torch.tanh)), Masked(Gaussian(1.0)), Masked(Bernoulli())]


KERNELS = {
    MALA(0.8): 5,
    HMC(4, 0.5): 5,
    HMC(path_length=1.2, step_size=0.5): 5,
    RiemannianMALA(0.9): 5,
    ParallelTempering(num_replicas=3, num_leapfrog=3, step_size=0.5): 5,
}


@pytest.mark.parametrize("observation", OBSERVATIONS, ids=["tanh", "gaussian", "bernoulli"])
@pytest.mark.parametrize(
    ("kernel", "steps"), KERNELS.items(), ids=lambda value: type(value).__name__
)
def test_adjusted_kernels_leave_the_posterior_invariant(
    kernel: Any, steps: int, observation: Any
) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(8,)), observation)
    assert _largest_z(model, kernel, steps) < 6


@pytest.mark.parametrize(
    "kernel",
    [MALA(0.8), HMC(4, 0.5), HMC(path_length=1.2, step_size=0.5)],
    ids=lambda kernel: type(kernel).__name__,
)
@pytest.mark.parametrize("mass", ["diagonal", "dense"])
def test_a_mass_leaves_the_posterior_invariant(kernel: Any, mass: str) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(8,)), Masked(Gaussian(0.5, torch.tanh)))
    scale = torch.tensor([0.6, 1.5]).expand(NUM, 2)
    if mass == "dense":
        scale = torch.tensor([[0.8, 0.0], [0.5, 1.2]]).expand(NUM, 2, 2)
    assert _largest_z(model, kernel, 5, scale) < 6


def test_a_kernel_that_is_wrong_is_found_out() -> None:
    """The plain Langevin at a large step."""
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(8,)), Masked(Gaussian(0.5, torch.tanh)))
    assert _largest_z(model, Langevin(0.8), steps=5) > 10


@dataclass(frozen=True)
class _Wrong:
    """MALA with a fault in it."""

    fault: str
    step_size: float = 0.8

    def init(self, position: Tensor, potential: Any) -> Any:
        return MALA(self.step_size).init(position, potential)

    def step(self, state: Any, potential: Any, generator: Any) -> Any:
        if self.fault == "accepts everything":
            proposal, _ = MALA(self.step_size).step(
                state._replace(energy=torch.full_like(state.energy, 1e6)), potential, generator
            )
            return proposal, None
        if self.fault == "wrong sign in the acceptance":

            def turned(z: Tensor) -> tuple[Tensor, Tensor]:
                energy, gradient = potential(z)
                return -energy, gradient

            moved, _ = MALA(self.step_size).step(
                state._replace(energy=-state.energy), turned, generator
            )
            return moved._replace(energy=potential(moved.position)[0]), None
        if self.fault == "stale gradient":
            moved, info = MALA(self.step_size).step(state, potential, generator)
            return moved._replace(gradient=state.gradient), info
        raise AssertionError(self.fault)


@pytest.mark.parametrize(
    "fault", ["accepts everything", "wrong sign in the acceptance", "stale gradient"]
)
def test_a_fault_put_into_a_kernel_is_found_out(fault: str) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(8,)), Masked(Gaussian(0.5, torch.tanh)))
    assert _largest_z(model, _Wrong(fault), steps=5) > 10


def test_a_forgotten_jacobian_is_found_out() -> None:
    """A Gamma latent, moved in unconstrained space with and without the transform's Jacobian."""

    def own(y: Tensor) -> None:
        with pyro.plate("examples", len(y)):
            rate = pyro.sample("rate", dist.Gamma(torch.full((len(y),), 2.0), 1.0))
            pyro.sample("y", dist.Normal(rate, 1.0), obs=y)

    rate = dist.Gamma(2.0, 1.0).sample((NUM,))
    potential = bind(own, rate + torch.randn(NUM))
    start = potential.flatten({"rate": rate})

    def forgetful(z: Tensor) -> tuple[Tensor, Tensor]:
        energy, gradient = potential(z)
        return energy + z[:, 0], gradient + 1

    scores = []
    for energy in (potential, forgetful):
        state = HMC(4, 0.4).init(start, energy)
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            state, _ = HMC(4, 0.4).step(state, energy, generator)
        difference = potential.unflatten(state.position)["rate"] - rate
        scores.append(abs(float(difference.mean() / difference.std() * NUM**0.5)))
    assert scores[0] < 6
    assert scores[1] > 10
