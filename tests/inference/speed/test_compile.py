"""Compiled steps: the same chains up to rounding, and only where it pays."""

import shutil
import warnings

import pytest
import torch
from torch import Tensor, fx

from explainaway.inference import HMC, MALA, AlternatingBackProp, bind, sample_posterior
from explainaway.inference.runs.chains import Chains
from explainaway.inference.runs.visit import MOST_EVALUATIONS, part_sizes, visit
from explainaway.inference.speed import CapturingEvaluator
from explainaway.inference.speed.compilation import CompilationWarning
from explainaway.inference.speed.compile_choice import (
    COMPILE_SECONDS,
    SETTLING,
    TIMED,
    CompileChoice,
)
from explainaway.inference.speed.graph import Graph
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

from ...conftest import linear_gaussian

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="TorchInductor needs a C++ compiler",
)


def _masked(y: Tensor) -> Tensor:
    return torch.where(torch.rand_like(y) < 0.5, y, torch.nan)


def _runs_operations(graph: Graph) -> bool:
    return isinstance(getattr(graph.evaluate, "__self__", None), fx.GraphModule)


@needs_compiler
@pytest.mark.parametrize(
    ("num_steps", "num_graphs"),
    [(5, 1), pytest.param(MOST_EVALUATIONS + 4, 2, marks=pytest.mark.slow)],
)
def test_a_compiled_visit_goes_where_the_plain_one_goes(num_steps: int, num_graphs: int) -> None:
    """From one place, for one visit: later, rounding makes any two chains part."""
    model = GeneratorModel(Normal(3), mlp(3, (7,), hidden=(16,)), Masked(Gaussian(0.3)))
    y, kernel, index = _masked(torch.rand(10, 7)), MALA(), torch.arange(10)
    start = torch.randn(10, 1, 3)
    compiled, plain = bind(model, y, compile=True), bind(model, y)
    others = Chains.start(start.clone(), kernel)
    for _ in range(3):
        visit(others, index, compiled, kernel, num_steps, 0)
    # That of the energy, with which the model is compared, is not compiled.
    _, *graphs = compiled.evaluator.graphs
    assert len(graphs) == num_graphs
    assert not any(_runs_operations(graph) for graph in graphs), "the steps were not compiled"
    moved = []
    for potential in (compiled, plain):
        chains = Chains.start(start.clone(), kernel)
        moved.append((visit(chains, index, potential, kernel, num_steps, seed=7), chains.to_dict()))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        model.network[0].weight.mul_(2.0)
    moved = []
    for potential in (compiled, plain):
        chains = Chains.start(start.clone(), kernel)
        moved.append((visit(chains, index, potential, kernel, num_steps, seed=8), chains.to_dict()))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=1e-4)


def test_without_a_compiler_the_graph_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **options: object) -> None:
        raise FileNotFoundError("no C++ compiler")

    monkeypatch.setattr("torch._inductor.compile", fails)
    model = GeneratorModel(Normal(3), mlp(3, (7,)), Gaussian(0.3))
    abp = AlternatingBackProp(model, inference_steps=5, batch_size=10, compile=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = abp.fit(torch.rand(10, 7), epochs=5, progress=False)
    (warning,) = caught
    assert warning.category is CompilationWarning
    assert "FileNotFoundError: no C++ compiler" in str(warning.message)
    assert fit.history["loss"][-1] < fit.history["loss"][0]


@pytest.mark.parametrize(("faster", "expected"), [(True, True), (False, False)])
def test_auto_keeps_what_is_faster(faster: bool, expected: bool) -> None:
    evaluator = CapturingEvaluator(print)
    choice = CompileChoice("auto", evaluator)
    for _ in range(SETTLING + TIMED):
        assert choice.decided is None
        choice.after_iteration(0.1, left=100_000)
    assert evaluator.compiles
    for _ in range(SETTLING + TIMED):
        assert choice.decided is None
        choice.after_iteration(0.05 if faster else 0.2, left=100_000)
    assert choice.decided is expected
    assert evaluator.compiles is expected


def test_auto_does_not_compile_what_is_soon_over() -> None:
    evaluator = CapturingEvaluator(print)
    choice = CompileChoice("auto", evaluator)
    for _ in range(SETTLING + TIMED):
        choice.after_iteration(0.1, left=int(COMPILE_SECONDS / 0.1))
    assert choice.decided is False
    assert not evaluator.compiles


def test_auto_goes_on_with_what_a_killed_run_had_decided() -> None:
    evaluator = CapturingEvaluator(print)
    choice = CompileChoice("auto", evaluator)
    choice.resume(True)
    assert evaluator.compiles
    assert choice.decided is True


def test_compile_is_one_of_three() -> None:
    model = GeneratorModel(Normal(3), mlp(3, (7,)), Gaussian(0.3))
    for call in (
        lambda: AlternatingBackProp(model, compile="yes"),  # type: ignore[arg-type]
        lambda: sample_posterior(model, torch.rand(2, 7), compile=1),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match='compile must be True, False or "auto", got'):
            call()


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("kernel", [MALA(), HMC(5), HMC()], ids=repr)
def test_compiled_draws_have_the_exact_mean_and_covariance(kernel: MALA | HMC) -> None:
    linear = linear_gaussian(torch.randn(6, 2), scale=0.5, bias=torch.randn(6))
    y = torch.where(torch.rand(8, 6) < 0.6, torch.randn(8, 6), torch.nan)
    posterior = sample_posterior(
        linear.model,
        y,
        kernel=kernel,
        num_chains=10,
        warmup_steps=200,
        num_samples=1000,
        progress=False,
        compile=True,
    )
    mean, covariance = linear.posterior(y, ~y.isnan())
    sd = covariance.diagonal(dim1=1, dim2=2).sqrt()
    ess = torch.tensor(posterior.summary().ess, dtype=torch.float32)
    z = posterior.get_samples()["z"]
    # As in tests/laws/test_exact_posteriors.py: false failure below 32 * 2e-9 for each kernel.
    assert ((z.mean(0) - mean).abs() < 6 * sd / ess.sqrt()).all()
    assert ((z.var(0) / sd**2 - 1).abs() < 6 * (6 / ess).sqrt()).all()


@pytest.mark.parametrize(
    ("kernel", "num_steps", "parts"),
    [
        (MALA(), 10, [10]),
        (MALA(), 16, [16]),
        (MALA(), 50, [10] * 5),
        (MALA(), 17, [9, 8]),
        (HMC(num_leapfrog=5), 7, [3, 2, 2]),
        (HMC(num_leapfrog=20), 3, [1, 1, 1]),
    ],
)
def test_a_long_visit_is_compiled_in_fewpart_sizes_of_equal_size(
    kernel: MALA | HMC, num_steps: int, parts: list[int]
) -> None:
    assert part_sizes(kernel, num_steps, compiles=True) == parts
    assert part_sizes(kernel, num_steps, compiles=False) == [num_steps]
