"""Warmup by what it must find: masses, step sizes and path lengths with a known right value."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    KeyedSource,
    Langevin,
    RiemannianMALA,
    sample_posterior,
)
from explainaway.inference.kernels.scale import scaled, scaled_back
from explainaway.inference.warmup.mass import (
    estimated_scale,
    start_mass_estimate,
    update_mass_estimate,
)
from explainaway.inference.warmup.windows import adapt, mass_windows, start_warmup
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp


@pytest.mark.parametrize("num_steps", [40, 57, 100, 300, 1000, 5000])
def test_windows_double_and_leave_room_at_both_ends(num_steps: int) -> None:
    edges = mass_windows(num_steps)
    sizes = [b - a for a, b in itertools.pairwise(edges)]
    assert 0 < edges[0] <= 75
    assert 10 <= num_steps - edges[-1] <= 50
    assert all(later >= 2 * earlier for earlier, later in itertools.pairwise(sizes))
    assert min(sizes) >= min(25, edges[-1] - edges[0])


def test_stans_windows_for_stans_thousand_steps() -> None:
    assert mass_windows(1000) == [75, 100, 150, 250, 450, 950]
    assert mass_windows(39) == []


def test_scales_transpose() -> None:
    u, v = torch.randn(2, 6, 3, dtype=torch.double)
    dense = torch.diag_embed(torch.rand(6, 3, dtype=torch.double) + 0.5)
    dense = dense + torch.randn(6, 3, 3, dtype=torch.double).tril(-1)
    for scale in (dense, torch.rand(6, 3, dtype=torch.double) + 0.5):
        torch.testing.assert_close(
            (scaled(scale, u) * v).sum(1), (u * scaled_back(scale, v)).sum(1)
        )


def test_the_diagonal_is_exact_for_a_normal_in_its_axes() -> None:
    """var z / var ∇E is the variance squared, draw by draw, however few or dependent they are."""
    sd = torch.tensor([[0.01, 1.0, 30.0]], dtype=torch.double)
    draws = 5 + sd * torch.randn(6, 1, 3, dtype=torch.double)
    estimate = start_mass_estimate(draws[0], 1, "diagonal")
    for one in draws:
        estimate = update_mass_estimate(estimate, one[None], (one[None] - 5) / sd**2)
    torch.testing.assert_close(estimated_scale(estimate), sd)


def test_the_dense_scale_tends_to_the_covariance() -> None:
    factor = torch.tensor([[[1.0, 0.0], [1.9, 0.1]]], dtype=torch.double)
    draws = (factor @ torch.randn(20_000, 1, 2, 1, dtype=torch.double))[..., 0]
    precision = torch.linalg.inv(factor @ factor.mT)
    gradient = (precision @ draws[..., None])[..., 0]
    estimate = start_mass_estimate(draws[0], 200, "dense")
    for some in range(0, 20_000, 200):
        part = slice(some, some + 200)
        estimate = update_mass_estimate(estimate, draws[part], gradient[part])
    scale = estimated_scale(estimate)
    # A variance from 20,000 draws has relative standard error 1 %; five of them.
    torch.testing.assert_close(scale @ scale.mT, factor @ factor.mT, rtol=0.05, atol=0.01)


def test_a_coordinate_that_never_moved_keeps_unit_scale() -> None:
    draws = torch.zeros(5, 2, 3)
    for mass in ("diagonal", "dense"):
        estimate = update_mass_estimate(start_mass_estimate(draws[0], 5, mass), draws, draws)
        scale = estimated_scale(estimate)
        expected = torch.ones(2, 3) if mass == "diagonal" else torch.eye(3).expand(2, 3, 3)
        torch.testing.assert_close(scale, expected)


STIFF = torch.tensor([[0.01, 0.1, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])


def _stiff(z: Tensor) -> tuple[Tensor, Tensor]:
    precision = (1 / STIFF**2).repeat(z.shape[0] // 2, 1)
    return 0.5 * (precision * z**2).sum(1), precision * z


def _warm_up(kernel: Any, num_steps: int = 300, chains: int = 8) -> tuple[Any, KeyedSource]:
    index = torch.arange(2)
    source = KeyedSource.of_chains(0, index, chains)
    state = kernel.init(torch.randn(2 * chains, 4), _stiff)
    warmup = start_warmup(kernel, state, chains)
    for step in range(num_steps):
        state, info = kernel.step(state, _stiff, source.at(step))
        state, warmup = adapt(kernel, state, warmup, info, chains, step, num_steps)
    return state, source


@pytest.mark.parametrize(
    "kernel",
    [HMC(8, mass="diagonal"), MALA(mass="diagonal"), HMC(8, mass="dense"), HMC()],
    ids=repr,
)
def test_warmup_finds_each_examples_own_scale(kernel: Any) -> None:
    state, _ = _warm_up(kernel)
    scale = state.scale[:2]
    if scale.dim() == 3:
        # The covariance from some 1,300 dependent draws, not exact as the diagonal is.
        torch.testing.assert_close(
            (scale @ scale.mT).diagonal(dim1=1, dim2=2).sqrt(), STIFF, rtol=0.25, atol=0
        )
    else:
        torch.testing.assert_close(scale, STIFF, rtol=1e-3, atol=0)
    # Both posteriors look alike once whitened, and so do their step sizes.
    assert float(state.step_size[0] / state.step_size[1]) == pytest.approx(1.0, rel=0.3)


@pytest.mark.parametrize("kernel", [HMC(8), HMC(), MALA(mass="dense")], ids=repr)
def test_after_warmup_the_acceptance_is_what_was_asked_for(kernel: Any) -> None:
    state, source = _warm_up(kernel)
    rates = []
    for step in range(300, 600):
        state, info = kernel.step(state, _stiff, source.at(step))
        rates.append(info.acceptance_rate.reshape(8, 2).mean(0))
    rate = torch.stack(rates).mean(0)
    # Dual averaging ends within a few per cent of its target; the last window has 30 steps.
    assert ((rate - kernel.target_acceptance).abs() < 0.12).all()


def test_a_fixed_step_size_adapts_nothing() -> None:
    state, _ = _warm_up(HMC(3, step_size=0.01))
    assert (state.step_size == 0.01).all()
    assert (state.scale == 1).all()


@pytest.mark.parametrize("mass", ["diagonal", "dense"])
def test_chains_in_different_modes_give_the_scale_of_a_mode(mass: Any) -> None:
    sd = torch.tensor([0.1, 2.0], dtype=torch.double)
    modes = torch.tensor([-50.0, 0.0, 30.0, 70.0], dtype=torch.double)[:, None, None]
    estimate = start_mass_estimate(torch.zeros(1, 2, dtype=torch.double), 4, mass)
    for _ in range(2000):
        offset = sd * torch.randn(4, 1, 2, dtype=torch.double)
        estimate = update_mass_estimate(estimate, modes + offset, offset / sd**2)
    scale = estimated_scale(estimate)
    found = scale if mass == "diagonal" else (scale @ scale.mT).diagonal(dim1=1, dim2=2).sqrt()
    # 8,000 draws: a standard deviation to within .8 %; five of that.
    torch.testing.assert_close(found, sd[None], rtol=0.04, atol=0.0)


@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(
    "kernel",
    [Langevin(), MALA(), MALA(mass="auto"), HMC(), HMC(6), RiemannianMALA()],
    ids=["langevin", "mala", "mala-dense", "hmc", "hmc-6", "riemannian"],
)
def test_auto_serves_from_a_fine_noise_to_a_coarse_one(kernel: Any, scale: float) -> None:
    torch.manual_seed(1)
    model = GeneratorModel(Normal(3), mlp(3, (8,), hidden=(8,)), Gaussian(scale, torch.tanh))
    y = model.generate(30, seed=2, noise=True)
    posterior = sample_posterior(
        model, y, kernel=kernel, warmup_steps=400, num_samples=200, seed=0, progress=False
    )
    rate = posterior.sample_stats["acceptance_rate"].mean((0, 1))
    # Too low is a step size that is too large. Too high is allowed for: where one chain of four
    # sits in a narrower place, the step size is its own and the others accept more. A full step of
    # the Riemannian kernel may be accepted always, and Langevin aims at .9 to begin with.
    target = kernel.target_acceptance
    free = isinstance(kernel, RiemannianMALA | Langevin)
    inside = (rate > target - 0.2) & (free | (rate < 1 - 0.4 * (1 - target)))
    assert float(inside.float().mean()) > 0.9
    assert posterior.summary().frozen == []
    assert posterior.sample_stats["lp"].isfinite().all()


@dataclass(frozen=True)
class Short(MALA):
    """MALA that takes no large step."""

    max_step_size: ClassVar[float] = 0.3


def test_no_adaptation_goes_beyond_the_largest_step() -> None:
    """Neither a new mass in warmup nor one that changes from visit to visit."""
    model = GeneratorModel(Normal(2), mlp(2, (4,), hidden=()), Gaussian(5.0))
    y, kernel = torch.randn(6, 4), Short(mass="auto")
    posterior = sample_posterior(
        model, y, kernel=kernel, warmup_steps=60, num_samples=5, progress=False
    )
    assert float(posterior.tuning["step_size"].max()) <= 0.3 + 1e-6
    abp = AlternatingBackProp(model, kernel, inference_steps=5)
    abp.fit(y, epochs=20, progress=False)
    assert abp.chains is not None
    assert 0.2 < float(abp.chains.step_size.max()) <= 0.3 + 1e-6
