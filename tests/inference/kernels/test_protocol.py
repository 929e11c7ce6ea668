"""What holds for every kernel, on a model of ours with hidden cells."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pyro
import pytest
import torch
from pyro.infer import MCMC
from torch import Tensor

from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    GaussNewton,
    GradientDescent,
    KeyedSource,
    Langevin,
    NonFiniteStartError,
    ParallelTempering,
    Potential,
    PyroKernel,
    RiemannianMALA,
    bind,
    sample_posterior,
)
from explainaway.inference.kernels.capabilities import (
    adapted,
    check_kernel,
    gradients_per_step,
    has_replicas,
    is_adjusted,
    is_tempered,
    largest_step_size,
    mass_of,
    tuning_of,
    with_adapted,
)
from explainaway.inference.kernels.starts import check_start
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

SAMPLERS = {
    "langevin": Langevin(0.1),
    "mala": MALA(0.3),
    "hmc of 3 steps": HMC(3, 0.2),
    "hmc by length": HMC(path_length=0.5, step_size=0.2),
    "riemannian": RiemannianMALA(0.5),
    "tempering": ParallelTempering(3, num_leapfrog=2, step_size=0.2),
}
KERNELS = {
    **SAMPLERS,
    "gradient descent": GradientDescent(0.1),
    "gauss-newton": GaussNewton(),
}
EVERY = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
EVERY_SAMPLER = pytest.mark.parametrize("kernel", SAMPLERS.values(), ids=SAMPLERS.keys())


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    network = mlp(2, (6,), hidden=(8,))
    return GeneratorModel(Normal(2), network, Masked(Gaussian(0.4, torch.tanh))).double()


def _data(n: int = 7) -> Tensor:
    y = torch.rand(n, 6, generator=torch.Generator().manual_seed(1)).double()
    return torch.where(y > 0.3, 2 * y - 1, torch.nan)


def _potential(n: int = 7) -> Potential:
    return bind(_model(), _data(n))


def _run(kernel: Any, rows: list[int], steps: int = 4) -> Any:
    """Return the state of some examples after some steps, each with its own start and noise."""
    index = torch.tensor(rows)
    potential = _potential().rows(index)
    source = KeyedSource(3, index, torch.zeros_like(index))
    start = torch.randn(7, 2, generator=torch.Generator().manual_seed(2)).double()[index]
    state = kernel.init(start, potential)
    for step in range(steps):
        state, _ = kernel.step(state, potential, source.at(step))
    return state


@EVERY
def test_every_field_leads_with_the_example(kernel: Any) -> None:
    potential = _potential()
    state = kernel.init(torch.randn(7, 2).double(), potential)
    state, info = kernel.step(state, potential, torch.Generator().manual_seed(0))
    assert all(field.shape[0] == 7 for field in state)
    assert state.position.shape == (7, 2)
    assert state.step_size.shape == (7,)
    assert all(field.shape == (7,) for field in info[:-1])
    assert info.num_gradients >= 1


@EVERY
def test_a_step_is_pure(kernel: Any) -> None:
    potential = _potential()
    state = kernel.init(torch.randn(7, 2).double(), potential)
    kept = [field.clone() for field in state]
    random_state = torch.random.get_rng_state()
    first, _ = kernel.step(state, potential, torch.Generator().manual_seed(0))
    second, _ = kernel.step(state, potential, torch.Generator().manual_seed(0))
    for a, b in zip(state, kept, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(first.position, second.position)
    assert torch.equal(torch.random.get_rng_state(), random_state)


@EVERY
def test_batch_mates_and_their_order_do_not_matter(kernel: Any) -> None:
    """Law 4: up to rounding, in double precision."""
    whole = _run(kernel, [0, 1, 2, 3, 4, 5, 6]).position
    some = _run(kernel, [5, 2]).position
    torch.testing.assert_close(some, whole[[5, 2]], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(_run(kernel, [3]).position, whole[[3]], rtol=1e-8, atol=1e-8)


@EVERY
def test_what_was_tuned_is_taken_over(kernel: Any) -> None:
    state = _run(kernel, [0, 1, 2], steps=1)
    tuning = {name: 0.5 * value for name, value in tuning_of(kernel, state).items()}
    again = kernel.init(state.position, _potential().rows(torch.arange(3)))._replace(**tuning)
    for name, value in tuning.items():
        assert torch.equal(getattr(again, name), value)


@EVERY_SAMPLER
def test_the_energy_that_is_reported_is_that_of_the_position(kernel: Any) -> None:
    if isinstance(kernel, Langevin):
        pytest.skip("evaluates nothing after its move; tests/laws hold it to what it says")
    potential = _potential()
    state = kernel.init(torch.randn(7, 2).double(), potential)
    for step in range(3):
        state, info = kernel.step(state, potential, torch.Generator().manual_seed(step))
        energy, _ = potential(state.position)
        torch.testing.assert_close(info.potential_energy, energy, rtol=1e-9, atol=1e-9)


@EVERY_SAMPLER
def test_a_killed_run_goes_on_and_an_extended_one_too(kernel: Any, tmp_path: Any) -> None:
    settings: dict[str, Any] = {
        "kernel": kernel,
        "num_chains": 2,
        "warmup_steps": 5,
        "progress": False,
    }
    whole = sample_posterior(_model(), _data(), num_samples=12, **settings)
    part = sample_posterior(
        _model(), _data(), num_samples=8, checkpoint=tmp_path / "run.pt", **settings
    )
    extended = part.extend(4, progress=False)
    assert torch.equal(extended.position, whole.position)
    again = sample_posterior(
        _model(), _data(), num_samples=8, checkpoint=tmp_path / "run.pt", **settings
    )
    assert torch.equal(again.position, part.position)


@EVERY_SAMPLER
def test_pyros_mcmc_runs_it(kernel: Any) -> None:
    pyro.set_rng_seed(0)
    mcmc = MCMC(PyroKernel(_model(), kernel), 6, 4, disable_progbar=True)
    mcmc.run(_data())
    assert mcmc.get_samples()["z"].shape == (6, 7, 2)


@EVERY
def test_a_kernel_names_its_states_and_what_is_tuned(kernel: Any) -> None:
    check_kernel(kernel)
    state = _run(kernel, [0, 1, 2], steps=2)
    assert type(state) is kernel.state_type
    assert type(kernel.init(state.position, _potential(3))) is kernel.state_type
    assert "step_size" in kernel.tuned
    assert set(kernel.tuned) <= set(state._fields)
    assert list(tuning_of(kernel, state)) == list(kernel.tuned)


@EVERY
def test_what_a_state_says_of_its_place_is_so(kernel: Any) -> None:
    """``energy`` and ``gradient``, carried or found from what is: those of the position."""
    evaluates_nothing = isinstance(kernel, Langevin | GradientDescent)
    assert is_adjusted(kernel) is not evaluates_nothing
    if evaluates_nothing:
        return
    for steps in (0, 3):
        state = _run(kernel, [0, 1, 2, 3], steps)
        energy, gradient = _potential().rows(torch.arange(4))(state.position)
        torch.testing.assert_close(state.energy, energy, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(state.gradient, gradient, rtol=1e-7, atol=1e-7)


@EVERY
def test_init_returns_and_its_caller_looks(kernel: Any) -> None:
    potential, start = _potential(), torch.randn(7, 2).double()
    check_start(kernel, kernel.init(start, potential))
    start[4, 1] = torch.nan
    state = kernel.init(start, potential)
    if is_adjusted(kernel):
        with pytest.raises(NonFiniteStartError, match=r"in row 4 \(1 of 7 rows; energy") as failure:
            check_start(kernel, state)
        assert failure.value.rows == [4]
    else:
        check_start(kernel, state)


@EVERY
def test_what_is_adapted_is_the_state_or_its_replicas(kernel: Any) -> None:
    state = _run(kernel, [0, 1, 2])
    rate = torch.rand(3).double()
    inner, rows, rates = adapted(kernel, state, rate)
    replicas = 3 if has_replicas(kernel) else 1
    assert rows.position.shape == (3 * replicas, 2)
    assert rates.shape == rows.step_size.shape == (3 * replicas,)
    assert type(rows) is inner.state_type
    assert is_tempered(kernel) is has_replicas(kernel) is isinstance(kernel, ParallelTempering)
    again = with_adapted(kernel, state, rows)
    for name, value in state._asdict().items():
        torch.testing.assert_close(getattr(again, name), value, rtol=0, atol=0, equal_nan=True)
    halved = with_adapted(kernel, state, rows._replace(step_size=0.5 * rows.step_size))
    assert torch.equal(halved.step_size, 0.5 * state.step_size)


def test_what_holds_of_a_kernel_that_says_nothing() -> None:
    assert mass_of(Langevin()) == "identity"
    assert largest_step_size(MALA()) == float("inf")
    assert gradients_per_step(MALA()) == 1
    assert mass_of(MALA(mass="dense")) == "dense"
    assert largest_step_size(RiemannianMALA()) == 1.0
    assert gradients_per_step(HMC(7)) == 7
    assert gradients_per_step(HMC()) == 1
    # Its replicas have a mass, it has none.
    assert mass_of(ParallelTempering()) == "identity"


class Still(NamedTuple):
    position: Tensor
    step_size: Tensor


class Turned(NamedTuple):
    step_size: Tensor
    position: Tensor


@dataclass(frozen=True)
class Rest:
    """A kernel that stays where it is."""

    step_size: float = 0.1
    target_acceptance: float = 0.5

    state_type: ClassVar = Still
    tuned: ClassVar = ("step_size",)

    def init(self, position: Tensor, potential: Potential) -> Still:
        return Still(position, torch.full_like(position[:, 0], self.step_size))

    def step(self, state: Still, potential: Potential, generator: Any) -> Any:
        raise NotImplementedError


def test_what_a_kernel_lacks_is_named_before_work_starts() -> None:
    class Nameless(Rest):
        tuned = ("step_size", "speed")

    class Heavy(Rest):
        mass = "diagonal"

    class HeavyToo(Rest):
        mass = "diagonal"
        tuned = ("step_size", "scale")

    class Untuned(Rest):
        tuned = ()

    class Backwards(Rest):
        state_type = Turned

    check_kernel(Rest())
    for kernel, message in (
        (MALA, "must be an object such as MALA"),
        (object(), "must have 'state_type', which object does not have"),
        (Nameless(), "states of Nameless must have 'speed', which Still does not have"),
        (Untuned(), "adapts its 'step_size', so its tuned must name it, got Untuned"),
        (Heavy(), "adapts its 'scale', so its tuned must name it"),
        (HeavyToo(), "states of HeavyToo must have 'energy'"),
        (Backwards(), "states of Backwards must begin with their position, got 'step_size'"),
    ):
        for call in (
            lambda kernel=kernel: AlternatingBackProp(_model(), kernel),
            lambda kernel=kernel: PyroKernel(_model(), kernel),
            lambda kernel=kernel: sample_posterior(_model(), _data(), kernel=kernel),
        ):
            with pytest.raises(TypeError, match=message):
                call()
