"""One protocol for all kernels; integrators by their laws."""

from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import (
    HMC,
    MALA,
    GradientDescent,
    KeyedSource,
    Langevin,
    NonFiniteStartError,
)
from explainaway.inference.kernels.integrators import Phase, leapfrog
from explainaway.inference.kernels.starts import check_start
from explainaway.inference.kernels.trajectories import leapfrog_each
from explainaway.inference.potentials.evaluation import PLAIN

KERNELS = [
    Langevin(0.1),
    GradientDescent(0.1),
    MALA(0.1),
    HMC(3, 0.1),
    HMC(path_length=0.3, step_size=0.1),
]


class Counted:
    """An anharmonic potential that counts how often it is evaluated."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self.count += 1
        return (z**4 / 4 + z**2 / 2).sum(1), z**3 + z


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_every_field_of_a_state_leads_with_the_example(kernel: Any) -> None:
    state = kernel.init(torch.randn(5, 2), Counted())
    state, info = kernel.step(state, Counted(), _generator())
    assert all(field.shape[0] == 5 for field in state)
    assert state.position.shape == (5, 2)
    assert state.step_size.shape == (5,)
    for field in info[:-1]:
        assert field.shape == (5,)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_a_step_is_pure(kernel: Any) -> None:
    state = kernel.init(torch.randn(5, 2), Counted())
    kept = [field.clone() for field in state]
    torch_state = torch.random.get_rng_state()
    first, _ = kernel.step(state, Counted(), _generator())
    second, _ = kernel.step(state, Counted(), _generator())
    for a, b in zip(state, kept, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(first.position, second.position)
    assert torch.equal(torch.random.get_rng_state(), torch_state)


@pytest.mark.parametrize(
    ("kernel", "evaluations"),
    [(Langevin(0.1), 4), (GradientDescent(0.1), 4), (MALA(0.1), 5), (HMC(3, 0.1), 13)],
    ids=repr,
)
def test_a_visit_costs_what_it_should(kernel: Any, evaluations: int) -> None:
    """Four steps: l evaluations where the step begins with one, l + 1 where they are carried."""
    potential = Counted()
    state = kernel.init(torch.randn(5, 2), potential)
    for _ in range(4):
        state, _ = kernel.step(state, potential, _generator())
    assert potential.count == evaluations


@pytest.mark.parametrize("kernel", [MALA(), HMC()], ids=repr)
def test_a_start_that_is_not_finite_is_named(kernel: Any) -> None:
    start = torch.zeros(3, 2)
    start[1, 0] = torch.nan
    state = kernel.init(start, Counted())
    with pytest.raises(NonFiniteStartError, match="row 1"):
        check_start(kernel, state)


@pytest.mark.parametrize("kernel", [Langevin(1.0), GradientDescent(1.0), MALA(1.0), HMC(3, 1.0)])
def test_what_is_not_finite_never_enters_a_chain(kernel: Any) -> None:
    def cliff(z: Tensor) -> tuple[Tensor, Tensor]:
        energy, gradient = (z**2).sum(1) / 2, z
        outside = (z.abs() > 0.5).any(1)
        energy = torch.where(outside, torch.nan, energy)
        return energy, torch.where(outside[:, None], torch.nan, gradient)

    state = kernel.init(torch.full((50, 1), 0.4), cliff)
    flagged = 0
    for step in range(20):
        state, info = kernel.step(state, cliff, _generator(step))
        flagged += int(info.diverging.sum())
        assert state.position.isfinite().all()
    if not isinstance(kernel, GradientDescent):  # which only descends, to 0
        assert flagged > 0


def test_keyed_and_plain_generators_both_serve() -> None:
    state = MALA(0.5).init(torch.zeros(4, 3), Counted())
    source = KeyedSource(0, torch.arange(4), torch.zeros(4, dtype=torch.long))
    moved, _ = MALA(0.5).step(state, Counted(), source.at(0))
    again, _ = MALA(0.5).step(state, Counted(), source.at(0))
    assert torch.equal(moved.position, again.position)


def test_mala_is_hmc_with_one_leapfrog_step() -> None:
    start = torch.randn(200, 3, dtype=torch.double)
    mala = MALA(0.7).init(start, Counted())
    hmc = HMC(1, 0.7, jitter=0.0).init(start, Counted())
    for step in range(5):
        mala, a = MALA(0.7).step(mala, Counted(), _generator(step))
        hmc, b = HMC(1, 0.7, jitter=0.0).step(hmc, Counted(), _generator(step))
        torch.testing.assert_close(a.energy_error, b.energy_error)
        assert torch.equal(a.accepted, b.accepted)
        torch.testing.assert_close(mala.position, hmc.position)
    assert 0 < float(a.acceptance_rate.mean()) < 1


def _scale(kind: str, n: int, d: int) -> Tensor:
    if kind == "unit":
        return torch.ones(n, 1, dtype=torch.double)
    diagonal = 0.5 + torch.rand(n, d, dtype=torch.double)
    if kind == "diagonal":
        return diagonal
    return torch.diag_embed(diagonal) + 0.3 * torch.randn(n, d, d, dtype=torch.double).tril(-1)


SCALES = pytest.mark.parametrize("kind", ["unit", "diagonal", "dense"])


@SCALES
def test_leapfrog_reverses(kind: str) -> None:
    position, momentum = torch.randn(2, 50, 3, dtype=torch.double)
    start = Phase(position, momentum, *Counted()(position))
    step, scale = torch.full((50,), 0.1, dtype=torch.double), _scale(kind, 50, 3)
    end = leapfrog(start, step, 20, Counted(), scale)
    back = leapfrog(end._replace(momentum=-end.momentum), step, 20, Counted(), scale)
    torch.testing.assert_close(back.position, position, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(back.momentum, -momentum, rtol=1e-10, atol=1e-10)


@SCALES
def test_leapfrog_keeps_volume(kind: str) -> None:
    scale = _scale(kind, 1, 2)

    def flow(point: Tensor) -> Tensor:
        phase = Phase(point[None, :2], point[None, 2:], *Counted()(point[None, :2]))
        end = leapfrog(phase, torch.full((1,), 0.3, dtype=torch.double), 7, Counted(), scale)
        return torch.cat([end.position[0], end.momentum[0]])

    jacobian = torch.autograd.functional.jacobian(flow, torch.randn(4, dtype=torch.double))
    assert float(torch.linalg.det(jacobian)) == pytest.approx(1.0, abs=1e-10)


@SCALES
def test_leapfrogs_energy_error_is_of_second_order(kind: str) -> None:
    position, momentum = torch.randn(2, 100, 3, dtype=torch.double)
    start = Phase(position, momentum, *Counted()(position))
    scale = _scale(kind, 100, 3)

    def error(step: float) -> float:
        steps = torch.full((100,), step, dtype=torch.double)
        end = leapfrog(start, steps, round(1 / step), Counted(), scale)
        change = end.energy - start.energy + 0.5 * (end.momentum**2 - momentum**2).sum(1)
        return float(change.abs().mean())

    # Halving the step divides the error by four, up to terms of fourth order.
    for step in (0.02, 0.01):
        assert error(step) / error(step / 2) == pytest.approx(4.0, rel=0.02)


@SCALES
def test_a_scale_is_a_change_of_coordinates(kind: str) -> None:
    """HMC with inverse mass LLᵀ on E(z) is HMC with unit mass on E(Lx): same noise, z = Lx."""
    scale = _scale(kind, 40, 3)
    full = torch.diag_embed(scale.expand(40, 3)) if scale.dim() == 2 else scale

    def whitened(x: Tensor) -> tuple[Tensor, Tensor]:
        energy, gradient = Counted()((full @ x[:, :, None])[:, :, 0])
        return energy, (full.mT @ gradient[:, :, None])[:, :, 0]

    x = torch.randn(40, 3, dtype=torch.double)
    for kernel in (HMC(4, 0.4), MALA(0.7)):
        there = kernel.init((full @ x[:, :, None])[:, :, 0], Counted())._replace(scale=scale)
        here = kernel.init(x, whitened)
        for step in range(3):
            there, a = kernel.step(there, Counted(), _generator(step))
            here, b = kernel.step(here, whitened, _generator(step))
            torch.testing.assert_close(a.energy_error, b.energy_error)
        torch.testing.assert_close(there.position, (full @ here.position[:, :, None])[:, :, 0])


def test_trajectories_of_different_length_equal_those_run_alone() -> None:
    position, momentum = torch.randn(2, 4, 3, dtype=torch.double)
    start = Phase(position, momentum, *Counted()(position))
    step, lengths = torch.full((4,), 0.1, dtype=torch.double), torch.tensor([1, 7, 3, 7])
    scale = _scale("diagonal", 4, 3)
    potential = Counted()
    ends, num_gradients = leapfrog_each(start, step, lengths, potential, scale)
    assert num_gradients == potential.count == 7
    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = leapfrog(
            Phase(*(field[one] for field in start)), step[one], length, Counted(), scale[one]
        )
        for field, other in zip(ends, alone, strict=True):
            torch.testing.assert_close(field[one], other)


class Springs:
    """A potential of rows of different stiffness, which counts the rows that are evaluated."""

    evaluator = PLAIN

    def __init__(self, stiffness: Tensor, evaluated: list[int]) -> None:
        self.stiffness = stiffness
        self.evaluated = evaluated

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluated.append(len(z))
        pull = self.stiffness[:, None] * z**3
        return (pull * z).sum(1) / 4, pull

    def leading(self, order: Tensor, size: int) -> "Springs":
        return Springs(self.stiffness[order[:size]], self.evaluated)


@SCALES
@pytest.mark.parametrize("told", ["nothing", "the order", "another order"])
def test_rows_that_have_arrived_leave_the_batch(kind: str, told: str) -> None:
    n, d = 40, 3
    lengths = torch.arange(n).remainder(13) + 1
    order = {
        "nothing": None,
        "the order": lengths.argsort(descending=True, stable=True),
        "another order": torch.arange(n),
    }[told]
    position, momentum = torch.randn(2, n, d, dtype=torch.double)
    stiffness = 0.5 + torch.rand(n, dtype=torch.double)
    potential = Springs(stiffness, [])
    start = Phase(position, momentum, *potential(position))
    step, scale = 0.05 + 0.05 * torch.rand(n, dtype=torch.double), _scale(kind, n, d)
    potential.evaluated.clear()
    ends, num_gradients = leapfrog_each(start, step, lengths, potential, scale, order)
    assert num_gradients == sum(potential.evaluated) / n
    # Each batch is the smallest of its sizes that holds the rows that still move.
    sizes = [share * n for share in PLAIN.shares]
    for number, size in enumerate(potential.evaluated):
        moving = int((lengths > number).sum())
        assert size == min(s for s in sizes if s >= moving)
    assert len(set(potential.evaluated)) == len(sizes)
    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = leapfrog(
            Phase(*(field[one] for field in start)),
            step[one],
            length,
            Springs(stiffness[one], []),
            scale[one],
        )
        for field, other in zip(ends, alone, strict=True):
            torch.testing.assert_close(field[one], other)


def test_lengths_that_differ_need_no_jitter_and_those_that_are_cut_do() -> None:
    """Free particles move by their trajectory's length: one for all rows, unless it is cut."""

    def free(z: Tensor) -> tuple[Tensor, Tensor]:
        return 0 * z.sum(1), 0 * z

    def lengths(kernel: HMC) -> Tensor:
        source = KeyedSource(0, torch.arange(500), torch.zeros(500, dtype=torch.long))
        state = kernel.init(torch.zeros(500, 1, dtype=torch.double), free)
        moved, _ = kernel.step(state, free, source.at(0))
        return (moved.position / source.at(0).normal(1, torch.double))[:, 0]

    # The first number of the van der Corput sequence is 1/2: twice that is the mean length.
    torch.testing.assert_close(
        lengths(HMC(path_length=1.5, step_size=0.1)), torch.full((500,), 1.5).double()
    )
    cut = lengths(HMC(path_length=1.5, step_size=0.01))
    assert 0.7 * 0.32 <= float(cut.min()) < 0.71 * 0.32
    assert 1.29 * 0.32 < float(cut.max()) <= 1.3 * 0.32 + 1e-9
    wide = lengths(HMC(path_length=1.5, step_size=0.1, jitter=0.2))
    assert float(wide.min()) < 0.81 * 1.5
    assert float(wide.max()) > 1.19 * 1.5


def test_jitter_is_each_examples_own() -> None:
    """Without jitter all chains with the same start and momentum would move alike."""
    seen = []

    def spy(z: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(z)
        return 0 * z.sum(1), 0 * z

    kernel = HMC(1, 1.0, jitter=0.3)
    state = kernel.init(torch.zeros(2000, 1), spy)
    kernel.step(state, spy, _generator())
    momentum = torch.randn(2000, 1, generator=_generator())
    steps = (seen[-1] / momentum)[:, 0]
    assert 0.7 <= float(steps.min()) < 0.71
    assert 1.29 < float(steps.max()) <= 1.3 + 1e-5


def test_jitter_breaks_resonance() -> None:
    """Case 3: a fixed trajectory of length π sends N(0, 1) to its mirror image for ever."""
    import math

    def normal(z: Tensor) -> tuple[Tensor, Tensor]:
        return (z**2).sum(1) / 2, z

    step = 2 * math.sin(math.pi / 20)
    start = torch.full((500, 1), 2.0, dtype=torch.double)
    fixed = HMC(10, step, jitter=0.0)
    state = fixed.init(start, normal)
    for k in range(3):
        state, _ = fixed.step(state, normal, _generator(k))
        torch.testing.assert_close(state.position.abs(), start)
    full = HMC(10, 2 * math.sin(math.pi / 10), jitter=0.0)
    returned, _ = full.step(full.init(start, normal), normal, _generator())
    torch.testing.assert_close(returned.position, start)
    jittered = HMC(10, step)
    state = jittered.init(start, normal)
    for k in range(100):
        state, _ = jittered.step(state, normal, _generator(k))
    # x² of 500 independent chains has mean 1, standard error sqrt(2 / 500) = .063; six of them.
    assert float((state.position**2).mean()) == pytest.approx(1.0, abs=0.38)
