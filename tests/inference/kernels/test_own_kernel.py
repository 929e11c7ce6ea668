"""A kernel written outside the package, from ``docs/own_kernel.md`` alone, is like one of ours."""

import re
import shutil
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import MCMC
from torch import Tensor

from explainaway.inference import (
    AlternatingBackProp,
    NonFiniteStartError,
    Posterior,
    PyroKernel,
    bind,
    sample_posterior,
)
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

from ...conftest import linear_gaussian

PAGE = Path(__file__).parents[3] / "docs" / "own_kernel.md"


def _written() -> Any:
    """Return the class that the page's first block writes."""
    code = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code[1], str(PAGE), "exec"), names)
    return names["Barker"]


Barker = _written()
MASSES = pytest.mark.parametrize("mass", ["identity", "diagonal", "dense"])


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (6,), hidden=(8,)), Masked(Gaussian(0.4)))


def _data(n: int = 20) -> Tensor:
    y = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    return torch.where(y > -0.7, y, torch.nan)


@MASSES
def test_it_leaves_the_posterior_invariant(mass: str) -> None:
    """Exact draws stay exact: 5,000 independent chains of the same three latents."""
    n, weight = 5000, torch.tensor([[1.0, 0.0, 0.5], [0.5, 2.0, 0.0]], dtype=torch.double)
    linear = linear_gaussian(weight, scale=0.7)
    y = torch.tensor([[1.0, -2.0]], dtype=torch.double)
    mean, covariance = linear.posterior(y)
    root = torch.linalg.cholesky(covariance[0])
    potential = bind(linear.model, y.expand(n, 2))
    kernel = Barker(step_size=0.7)
    scale = {
        "identity": torch.ones(n, 1, dtype=torch.double),
        "diagonal": covariance[0].diagonal().sqrt().expand(n, 3),
        "dense": root.expand(n, 3, 3),
    }[mass]
    start = mean + torch.randn(n, 3, dtype=torch.double) @ root.T
    state = kernel.init(start, potential)._replace(scale=scale)
    generator = torch.Generator().manual_seed(0)
    rates = []
    for _ in range(20):
        state, info = kernel.step(state, potential, generator)
        rates.append(info.acceptance_rate.mean())
    # Neither accepted always, where nothing corrects, nor stuck.
    assert 0.3 < float(torch.stack(rates).mean()) < 0.95
    assert float((state.position - start).square().mean()) > 0.05
    white = torch.linalg.solve_triangular(root, (state.position - mean).T, upper=False).T
    # Standard normals: 3 means and 9 second moments within five standard errors.
    assert (white.mean(0).abs() < 5 / n**0.5).all()
    moments = white.T @ white / n - torch.eye(3)
    assert (moments.abs() < 5 * (1 + torch.eye(3)).sqrt() / n**0.5).all()


@pytest.mark.parametrize("mass", ["identity", "auto"])
def test_sampling_finds_the_posterior(mass: Any) -> None:
    posterior = _assert_exact(Barker(mass=mass))
    assert set(posterior.tuning) == {"step_size", "scale"}
    assert posterior.tuning["scale"].shape == ((8, 1) if mass == "identity" else (8, 2, 2))
    assert not (posterior.tuning["step_size"] == 0.1).any(), "the step size was not adapted"


@pytest.mark.parametrize("mass", ["identity", "auto"])
def test_a_fit_that_is_resumed_ends_with_the_same_bits(mass: Any, tmp_path: Path) -> None:
    def fit(epochs: int, checkpoint: Path | None) -> Any:
        abp = AlternatingBackProp(
            _model(),
            Barker(mass=mass),
            inference_steps=5,
            batch_size=8,
            num_chains=2,
            optimizer=lambda p: torch.optim.Adam(p, lr=1e-3),
        )
        return abp.fit(_data(), epochs=epochs, seed=3, checkpoint=checkpoint, progress=False)

    whole = fit(6, None)
    fit(2, tmp_path / "run.pt")
    resumed = fit(6, tmp_path / "run.pt")
    assert torch.equal(resumed.latents, whole.latents)
    assert resumed.history["loss"] == whole.history["loss"]
    assert whole.history["loss"][-1] < whole.history["loss"][0]


@pytest.mark.parametrize("mass", ["identity", "auto"])
def test_a_posterior_that_goes_on_has_the_same_bits(mass: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "kernel": Barker(mass=mass),
        "num_chains": 2,
        "warmup_steps": 50,
        "progress": False,
    }
    whole = sample_posterior(_model(), _data(), num_samples=12, **settings)
    part = sample_posterior(
        _model(), _data(), num_samples=8, checkpoint=tmp_path / "run.pt", **settings
    )
    again = sample_posterior(
        _model(), _data(), num_samples=8, checkpoint=tmp_path / "run.pt", **settings
    )
    assert torch.equal(again.position, part.position)
    assert torch.equal(part.extend(4, progress=False).position, whole.position)


def test_pyros_mcmc_runs_it() -> None:
    pyro.set_rng_seed(0)
    mcmc = MCMC(PyroKernel(_model(), Barker(mass="diagonal")), 20, 60, disable_progbar=True)
    mcmc.run(_data())
    assert mcmc.get_samples()["z"].shape == (20, 20, 2)
    rate = mcmc.kernel.diagnostics()["acceptance rate"]
    # After 60 steps of warmup: somewhere near its own target.
    assert 0.2 < rate < 0.7


def test_a_start_that_is_not_finite_is_refused_for_it() -> None:
    y = _data()
    y[3, 0] = torch.inf
    model = GeneratorModel(Normal(2), mlp(2, (6,)), Gaussian(0.4))
    abp = AlternatingBackProp(model, Barker(), batch_size=20)
    abp.start(torch.zeros(20, 6))
    abp.step(torch.zeros(20, 6), torch.arange(20))  # later batches of its form are not checked
    with pytest.raises(NonFiniteStartError, match="energy of example 3 is not finite"):
        abp.step(y.nan_to_num(nan=0.0, posinf=torch.inf), torch.arange(20))


class Counted:
    """The kernel under another name, counting how often Python runs its steps."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kernel, name)

    def step(self, *arguments: Any) -> Any:
        self.count += 1
        return self.kernel.step(*arguments)


needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="TorchInductor needs a C++ compiler",
)


@pytest.mark.slow
@needs_compiler
def test_compiled_it_learns_as_it_does_plain() -> None:
    losses = []
    for compile in (False, True):
        kernel = Counted(Barker(mass="auto"))
        abp = AlternatingBackProp(
            _model(), kernel, inference_steps=5, batch_size=20, compile=compile
        )
        losses.append(abp.fit(_data(), epochs=30, seed=3, progress=False).history["loss"])
        # 30 visits of 5 steps; compiled, Python sees those before it and its checks.
        assert kernel.count < 50 if compile else kernel.count == 150
    # Until rounding has parted the chains.
    torch.testing.assert_close(torch.tensor(losses[1])[:3], torch.tensor(losses[0])[:3])
    # The last ten epochs' mean: 20 examples of 6 cells, so a loss has a noise of about .3.
    last = torch.tensor(losses)[:, -10:].mean(1)
    assert float(last[0] - last[1]) == pytest.approx(0.0, abs=0.5)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("mass", ["identity", "auto"])
def test_compiled_it_finds_the_posterior(mass: Any) -> None:
    kernel = Counted(Barker(mass=mass))
    _assert_exact(kernel, compile=True)
    # Of 700 steps; a new form of the scale is compiled anew.
    assert kernel.count < 150


def _assert_exact(kernel: Any, **settings: Any) -> Posterior:
    linear = linear_gaussian(torch.randn(6, 2), scale=0.5)
    y = torch.where(torch.rand(8, 6) < 0.6, torch.randn(8, 6), torch.nan)
    posterior = sample_posterior(
        linear.model,
        y,
        kernel=kernel,
        num_chains=10,
        warmup_steps=200,
        num_samples=500,
        progress=False,
        **settings,
    )
    mean, covariance = linear.posterior(y, ~y.isnan())
    sd = covariance.diagonal(dim1=1, dim2=2).sqrt()
    ess = torch.tensor(posterior.summary().ess, dtype=torch.float32)
    z = posterior.get_samples()["z"]
    # As in tests/laws/test_exact_posteriors.py: false failure below 32 * 2e-9.
    assert ((z.mean(0) - mean).abs() < 6 * sd / ess.sqrt()).all()
    assert ((z.var(0) / sd**2 - 1).abs() < 6 * (6 / ess).sqrt()).all()
    return posterior
