"""Kernels leave the exact posterior where it is, whatever the prior.

As in ``test_invariance``: draw (z, y) from the exact joint, move z by the kernel given y, compare
15 bounded functions of the pairs (a Student-t latent has no third moment). 4,000 pairs with
|z| < 6: a false failure has probability 15 * 2e-9 for each prior and kernel.
"""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import HMC, MALA, Langevin, ParallelTempering, RiemannianMALA, bind
from explainaway.models import (
    Empirical,
    Gaussian,
    GeneratorModel,
    Hierarchical,
    LatentEnergy,
    Mixture,
    NonNegative,
    Normal,
    Prior,
    Sparse,
    Supervised,
    mlp,
)
from explainaway.models.priors import Laplace, StudentT

NUM = 4_000


class _BoundedEnergy(nn.Module):
    """``2 cos(2 z₁) sin(z₂)``, at most 2 in size, so that the prior can be drawn by rejection."""

    def forward(self, z: Tensor) -> Tensor:
        return 2 * (2 * z[:, 0]).cos() * z[:, 1].sin()


class _Exact(NamedTuple):
    """A prior, its exact draws and their context."""

    prior: Prior
    draws: Tensor
    context: dict[str, Tensor] | None


def _exact(name: str) -> _Exact:
    if name == "latent energy":
        energy = _BoundedEnergy()
        z = torch.randn(40 * NUM, 2)
        kept = z[torch.rand(len(z)) < (-energy(z) - 2).exp()]
        return _Exact(LatentEnergy(2, energy), kept[:NUM], None)
    context = None
    if name == "supervised":
        labels = torch.where(torch.rand(NUM, 1) < 0.5, torch.randn(NUM, 1), torch.nan)
        context = {"labels": labels}
    covariances = torch.tensor([[[1.0, 0.6], [0.6, 0.5]], [[0.3, 0.0], [0.0, 1.0]]])
    prior: Prior = {
        "laplace": lambda: Laplace(2),
        "student": lambda: StudentT(2, df=3.0),
        "sparse": lambda: Sparse(2, smoothing=0.3),
        "exponential": lambda: NonNegative(2),
        "half-normal": lambda: NonNegative(2, family="half-normal"),
        "mixture": lambda: Mixture(2, num_components=2, spread=2.0),
        "empirical": lambda: Empirical(torch.tensor([[0.0, 1.0], [1.0, -1.0]]), covariances),
        "hierarchical": lambda: Hierarchical(2, torch.tensor([0.5, 2.0])),
        "supervised": lambda: Supervised(Normal(2), components=1),
    }[name]()
    made = prior.given(context)
    draws = made.sample() if made.batch_shape else made.sample((NUM,))
    return _Exact(prior, draws, context)


PRIORS = [
    "laplace",
    "student",
    "sparse",
    "exponential",
    "half-normal",
    "mixture",
    "empirical",
    "hierarchical",
    "supervised",
    "latent energy",
]

KERNELS = [
    pytest.param(MALA(0.7), 5, id="MALA"),
    pytest.param(HMC(3, 0.4), 3, id="HMC"),
    pytest.param(RiemannianMALA(0.7), 3, id="RiemannianMALA"),
    pytest.param(
        ParallelTempering(num_replicas=3, num_leapfrog=3, step_size=0.4),
        3,
        id="ParallelTempering",
        marks=pytest.mark.slow,
    ),
]


def _functions(z: Tensor, y: Tensor) -> Tensor:
    """Return 15 bounded functions of each pair, (n, 15)."""
    squashed = torch.cat([z.tanh(), (z / 3).tanh()], 1)
    a, b = squashed[:, 0], squashed[:, 1]
    columns = [*squashed.T, *(squashed**2).T, a * b]
    columns += [squashed[:, i] * y[:, j].tanh() for i in range(2) for j in range(3)]
    return torch.stack(columns, 1)


def _largest_score(made: _Exact, prior: Prior, kernel: Any, steps: int) -> float:
    """``made`` is where data come from, ``prior`` what the kernel is told."""
    network = mlp(2, (3,), hidden=(8,), activation=nn.Tanh)
    model = GeneratorModel(made.prior, network, Gaussian(0.5))
    with torch.no_grad():
        output = network(made.prior.transformed(made.draws, made.context))
        y = model.observation.distribution(output).sample()
    model.prior = prior
    # Another prior reads no context, and one that nobody reads is refused.
    potential = bind(model, y, context=made.context if prior is made.prior else None)
    start = potential.flatten({"z": made.draws})
    state = kernel.init(start, potential)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        state, _ = kernel.step(state, potential, generator)
    moved = potential.unflatten(state.position)["z"]
    assert float((moved != made.draws).any(1).double().mean()) > 0.5
    difference = (_functions(moved, y) - _functions(made.draws, y)).double()
    score = difference.mean(0) / (difference.std(0) / NUM**0.5)
    return float(score.abs().max())


@pytest.mark.parametrize(("kernel", "steps"), KERNELS)
@pytest.mark.parametrize("name", PRIORS)
def test_adjusted_kernels_leave_the_posterior_invariant(name: str, kernel: Any, steps: int) -> None:
    made = _exact(name)
    assert _largest_score(made, made.prior, kernel, steps) < 6


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("laplace", Sparse(2, smoothing=2.0)),
        ("student", StudentT(2, df=30.0)),
        ("exponential", NonNegative(2, family="half-normal")),
        ("hierarchical", Hierarchical(2, torch.tensor([2.0, 0.5]))),
        ("supervised", Normal(2)),
        ("latent energy", Normal(2)),
    ],
)
def test_another_prior_than_the_one_data_come_from_is_found_out(name: str, told: Prior) -> None:
    assert _largest_score(_exact(name), told, HMC(4, 0.5), steps=10) > 8


def test_a_kernel_that_is_not_adjusted_is_found_out() -> None:
    made = _exact("exponential")
    assert _largest_score(made, made.prior, Langevin(0.9), steps=10) > 8
