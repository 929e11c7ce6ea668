import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from explainaway.inference import HMC, MALA, Posterior, bind, sample_posterior, summarise
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (3, 4), hidden=(8,)), Masked(Gaussian(0.3)))


def _data(n: int = 5) -> Tensor:
    y = torch.randn(n, 3, 4, generator=torch.Generator().manual_seed(1))
    return torch.where(y > -1, y, torch.nan)


def _sample(**more: Any) -> Posterior:
    settings: dict[str, Any] = {
        "num_chains": 3,
        "warmup_steps": 20,
        "num_samples": 30,
        "progress": False,
        **more,
    }
    return sample_posterior(_model(), settings.pop("y", _data()), **settings)


def test_draws_have_pyros_shapes() -> None:
    posterior = _sample()
    assert posterior.samples["z"].shape == (3, 30, 5, 2)
    assert posterior.get_samples()["z"].shape == (90, 5, 2)
    assert posterior.get_samples(group_by_chain=True)["z"].shape == (3, 30, 5, 2)
    assert posterior.sample_stats["lp"].shape == (3, 30, 5)
    assert posterior.sample_stats["step_size"].shape == (5,)


def test_lp_is_the_log_joint_of_each_draw() -> None:
    posterior = _sample()
    energy, _ = bind(_model(), _data())(posterior.position[1, 7])
    torch.testing.assert_close(posterior.sample_stats["lp"][1, 7], -energy, rtol=1e-4, atol=1e-4)


def test_accumulated_moments_are_those_of_the_draws() -> None:
    model = _model()
    posterior = _sample(accumulate={"image": model.decode})
    images = model.decode(posterior.samples["z"].flatten(0, 1)).detach()
    got = posterior.accumulated["image"]
    torch.testing.assert_close(got.mean, images.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got.variance, images.var(0), rtol=1e-3, atol=1e-5)


def test_the_same_seed_gives_the_same_bits() -> None:
    assert torch.equal(_sample(seed=1).position, _sample(seed=1).position)
    assert not torch.equal(_sample(seed=1).position, _sample(seed=2).position)


def test_an_examples_draws_do_not_depend_on_the_others_after_it() -> None:
    """Its noise is its own; only rounding differs, and a chaotic chain is kept short."""
    alone = _sample(y=_data()[:2], warmup_steps=0, num_samples=10, kernel=MALA(0.05))
    among = _sample(y=_data(), warmup_steps=0, num_samples=10, kernel=MALA(0.05))
    torch.testing.assert_close(alone.position, among.position[:, :, :2], rtol=1e-3, atol=1e-4)


def test_step_sizes_adapt_for_each_example_and_then_stay() -> None:
    posterior = _sample(kernel=MALA(), warmup_steps=300, num_samples=300)
    rate = posterior.sample_stats["acceptance_rate"].mean((0, 1))
    assert ((rate - 0.574).abs() < 0.12).all()
    assert posterior.sample_stats["step_size"].unique().numel() == 5


def test_save_and_load(tmp_path: Path) -> None:
    model = _model()
    posterior = _sample(accumulate={"image": model.decode})
    posterior.save(tmp_path / "draws.pt")
    loaded = Posterior.load(tmp_path / "draws.pt", bind(model, _data()))
    assert torch.equal(loaded.position, posterior.position)
    assert torch.equal(loaded.accumulated["image"].mean, posterior.accumulated["image"].mean)
    assert "posterior_predictive" in loaded.to_arviz(predictive_draws=3).groups()
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that exists"):
        posterior.save(tmp_path / "nowhere" / "draws.pt")


class _StopAt:
    """A function of the draws that presses Ctrl-C at a step."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, z: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return z


def test_stopped_while_sampling_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    whole = _sample(accumulate={"z": _StopAt(-1)})
    with pytest.raises(KeyboardInterrupt, match="call again with it to go on"):
        _sample(accumulate={"z": _StopAt(11)}, checkpoint=path)
    resumed = _sample(accumulate={"z": _StopAt(-1)}, checkpoint=path)
    _assert_same(resumed, whole)


WARMUP_SCRIPT = """
import signal, sys, torch
sys.path.insert(0, sys.argv[2])
from tests.inference.test_sampling import _sample
from explainaway.inference import sampling
advance, count = sampling._Run.advance, 0
def stopping(self):
    global count
    count += 1
    if count == 37:
        signal.raise_signal(signal.SIGINT)
    return advance(self)
sampling._Run.advance = stopping
try:
    _sample(warmup_steps=100, checkpoint=sys.argv[1])
except KeyboardInterrupt as stop:
    print(stop)
"""


def test_stopped_in_warmup_and_resumed_in_a_new_process_gives_the_same_bits(
    tmp_path: Path,
) -> None:
    """Case 23 (pyro-ppl/numpyro#1397, pymc-devs/pymc#7503): 100 steps against 37 and 63."""
    path = tmp_path / "run.pt"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", WARMUP_SCRIPT, str(path), str(root)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "stopped after step 37 of 130" in done.stdout
    _assert_same(_sample(warmup_steps=100, checkpoint=path), _sample(warmup_steps=100))


def _assert_same(a: Posterior, b: Posterior) -> None:
    assert torch.equal(a.position, b.position)
    for name, value in a.sample_stats.items():
        assert torch.equal(value, b.sample_stats[name])
    for name, moments in a.accumulated.items():
        assert torch.equal(moments.mean, b.accumulated[name].mean)
    assert a.num_gradients == b.num_gradients


def test_a_checkpoint_of_other_draws_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    _sample(checkpoint=path)
    with pytest.raises(ValueError, match="of other work: its seed is 0, here it is 1"):
        _sample(checkpoint=path, seed=1)
    with pytest.raises(ValueError, match="of other work: its kernel is HMC"):
        _sample(checkpoint=path, kernel=MALA())


def test_frozen_copied_and_nan_chains_are_named() -> None:
    """Case 4 (pymc-devs/pymc#1479, stan-dev/rstan#706)."""
    draws = torch.randn(4, 1000, 5, 1)
    draws[1, :, 1] = draws[0, :, 1]
    draws[2, :, 2] = 3.0
    draws[3, 5, 3] = torch.nan
    draws[0, :, 4] += 10
    summary = summarise(draws)
    assert summary.copied == [(1, 0, 1)]
    assert summary.frozen == [(2, 2)]
    assert summary.not_finite == [(3, 3)]
    assert (summary.rhat[:4] < 1.02).all()
    assert summary.worst_rhat == summary.rhat[4, 0] > 1.5
    # Three good chains of 1,000 independent draws each, not four.
    assert (np.abs(summary.ess[1:4, 0] - 3000) < 600).all()
    assert "1 chains frozen" in str(summary)


def test_nothing_to_compare_is_nan_not_fine() -> None:
    summary = summarise(torch.ones(2, 10, 1, 1))
    assert np.isnan(summary.worst_rhat)
    assert summary.frozen == [(0, 0), (0, 1)]
    assert "frozen" in str(summary)


def test_divergences_are_counted_and_located() -> None:
    with pytest.warns(UserWarning, match=r"proposals diverged, in \d of 5 examples"):
        _sample(kernel=HMC(10, step_size=5.0), warmup_steps=0)
