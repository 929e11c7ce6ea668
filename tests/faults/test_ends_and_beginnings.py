"""Ctrl-C, threads, failed factorisations; seeds by chance and chains that go on."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from explainaway.inference import (
    MALA,
    AlternatingBackProp,
    Posterior,
    bind,
    sample_posterior,
)
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp


def _model(seed: int = 0) -> GeneratorModel:
    torch.manual_seed(seed)
    return GeneratorModel(Normal(2), mlp(2, (3,), hidden=(4,)), Gaussian(0.5))


def _data(n: int = 4) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(1))


def _interrupts_after(calls: int) -> Any:
    """Return a function of latents for ``accumulate``, which is called at each draw."""
    made = 0

    def function(z: Tensor) -> Tensor:
        nonlocal made
        made += 1
        if made == calls:
            signal.raise_signal(signal.SIGINT)
        return z

    return function


SHORT: dict[str, Any] = {"num_chains": 2, "warmup_steps": 10, "num_samples": 12, "progress": False}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("thinning", [1, 3])
def test_ctrl_c_hands_back_the_draws_that_are_there(thinning: int) -> None:
    """The draws of an interrupted run and its extension are those of the whole run."""
    model, y = _model(), _data()
    whole = sample_posterior(model, y, thinning=thinning, accumulate={"z": lambda z: z}, **SHORT)
    some = sample_posterior(
        model, y, thinning=thinning, accumulate={"z": _interrupts_after(5)}, **SHORT
    )
    assert some.interrupted
    assert not whole.interrupted
    made = some.position.shape[1]
    assert 5 <= made <= 6
    assert torch.equal(some.samples["z"], whole.samples["z"][:, :made])
    rest = some.extend(12 - made, progress=False)
    assert not rest.interrupted
    assert torch.equal(rest.position, whole.position)
    assert torch.equal(rest.accumulated["z"].mean, whole.accumulated["z"].mean)


def test_ctrl_c_in_the_midst_of_a_sampling_run_warns() -> None:
    with pytest.warns(UserWarning, match="Ctrl-C: sampling ended after . of 12 draws"):
        sample_posterior(_model(), _data(), accumulate={"z": _interrupts_after(5)}, **SHORT)


def test_ctrl_c_before_all_examples_have_draws_stops(tmp_path: Path) -> None:
    def run(**more: Any) -> Posterior:
        return sample_posterior(
            _model(), _data(), accumulate={"z": _interrupts_after(5)}, **SHORT, **more
        )

    with pytest.raises(KeyboardInterrupt, match="draws are lost"):
        run(chunk_size=2)
    with pytest.raises(KeyboardInterrupt, match="call again with it"):
        run(checkpoint=tmp_path / "run")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_without_a_seed_one_is_taken_and_told(tmp_path: Path) -> None:
    model, y = _model(), _data()
    one = sample_posterior(model, y, seed=None, **SHORT)
    assert one.seed is not None
    assert torch.equal(one.position, sample_posterior(model, y, seed=one.seed, **SHORT).position)
    assert sample_posterior(model, y, seed=None, **SHORT).seed != one.seed
    file = tmp_path / "run"
    first = sample_posterior(model, y, seed=None, checkpoint=file, **SHORT)
    again = sample_posterior(model, y, seed=None, checkpoint=file, **SHORT)
    assert torch.equal(first.position, again.position)

    path = tmp_path / "fit"
    learned = AlternatingBackProp(_model()).fit(
        y, epochs=2, seed=None, checkpoint=path, progress=False
    )
    assert learned.seed is not None
    same = AlternatingBackProp(_model()).fit(y, epochs=2, seed=learned.seed, progress=False)
    assert torch.equal(learned.latents, same.latents)
    further = AlternatingBackProp(_model()).fit(
        y, epochs=3, seed=None, checkpoint=path, progress=False
    )
    assert further.seed == learned.seed


@pytest.mark.parametrize("num_chains", [1, 2])
def test_a_fit_goes_on_from_the_chains_of_another(num_chains: int, tmp_path: Path) -> None:
    y = _data()
    still = MALA(step_size=1e-12)
    start = torch.randn(num_chains, 4, 2, generator=torch.Generator().manual_seed(2))
    given = start[0] if num_chains == 1 else start

    def fit(latents: Any, **more: Any) -> Any:
        loop = AlternatingBackProp(_model(), still, num_chains=num_chains, **more)
        return loop.fit(y, epochs=1, latents=latents, progress=False)

    first = fit(given)
    assert torch.allclose(first.latents, given, atol=1e-4)
    assert torch.allclose(fit(first).latents, given, atol=1e-4)
    assert torch.allclose(fit({"z": given}, chains_file=tmp_path / "c").latents, given, atol=1e-4)
    with pytest.raises(ValueError, match=r"latents of 'z' must have shape \(4, 2\) or.*\(3, 2\)"):
        fit(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"sites \['z'\], got \['w'\]"):
        fit({"w": given})
    with pytest.raises(
        ValueError, match=r"latents must be finite .*, got others for 1 of .* the first 2"
    ):
        fit(torch.where(torch.arange(4)[:, None] == 2, torch.nan, start[0]))


def test_constrained_latents_are_taken_as_such() -> None:
    def model(y: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(()))
        with pyro.plate("examples", len(y)):
            scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
            pyro.sample("y", dist.Normal(loc, scale), obs=y)

    y = torch.ones(3)
    scale = torch.tensor([0.5, 1.0, 2.0])
    pyro.clear_param_store()
    loop = AlternatingBackProp(model, MALA(step_size=1e-12))
    assert torch.allclose(loop.fit(y, epochs=1, latents=scale, progress=False).latents, scale)
    with pytest.raises(
        ValueError, match="must be finite and within their site's support, got others for 3 of 3"
    ):
        loop.fit(y, epochs=1, latents=-scale, progress=False)
    pyro.clear_param_store()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_threads_take_turns() -> None:
    """Case 42: Pyro's handlers are global, so three threads met each other's plates."""
    y = _data()
    models = [_model(seed) for seed in range(3)]
    expected = [sample_posterior(model, y, **SHORT).position for model in models]
    made: dict[int, Tensor] = {}

    def work(number: int) -> None:
        made[number] = sample_posterior(models[number], y, **SHORT).position

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        assert torch.equal(made[number], expected[number])


def _gaussian_process(spread: float, jitter: float) -> Callable[[Tensor], None]:
    """Return a model whose covariance has no factor in float32 where the length is large."""
    points = torch.arange(4.0)
    square = (points[:, None] - points) ** 2

    def model(y: Tensor) -> None:
        with pyro.plate("examples", len(y)):
            length = pyro.sample("length", dist.LogNormal(0.0, spread))
            covariance = torch.exp(-0.5 * square / length[:, None, None] ** 2)
            factor = torch.linalg.cholesky(covariance + jitter * torch.eye(4))
            pyro.sample("y", dist.MultivariateNormal(torch.zeros(4), scale_tril=factor), obs=y)

    return model


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("capture", [False, True])
def test_a_factorisation_that_fails_is_a_rejection(capture: bool) -> None:
    """Case 47: one row's proposal ended the sampling of all fifty."""
    y = torch.randn(50, 4, generator=torch.Generator().manual_seed(3)).cumsum(1)
    posterior = sample_posterior(
        _gaussian_process(2.0, 1e-6),
        y,
        num_chains=2,
        warmup_steps=100,
        num_samples=100,
        capture=capture,
        progress=False,
    )
    assert bool(posterior.position.isfinite().all())
    assert bool(posterior.sample_stats["diverging"].any())
    assert "diverg" in str(posterior.summary())


def test_energies_are_infinite_only_where_a_factorisation_fails() -> None:
    y = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    potential = bind(_gaussian_process(0.5, 1e-8), y, capture=False)
    position = torch.tensor([0.0, 12.0, -1.0, 12.0, 0.5])[:, None]
    energy, gradient = potential(position)
    assert energy.isinf().tolist() == [False, True, False, True, False]
    fine = torch.tensor([0, 2, 4])
    one_by_one, slope = potential.rows(fine)(position[fine])
    assert torch.allclose(energy[fine], one_by_one)
    assert torch.allclose(gradient[fine], slope)
    parts = potential.parts(position)
    assert parts.likelihood.isinf().tolist() == energy.isinf().tolist()
