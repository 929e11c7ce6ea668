import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive
from pyro.infer.autoguide import AutoNormal
from pyro.infer.autoguide.initialization import init_to_sample, init_to_value
from torch import Tensor

from explainaway.inference import (
    HMC,
    MALA,
    GradientDescent,
    Langevin,
    Posterior,
    SamplingWarning,
    bind,
    sample_posterior,
    summarise,
)
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

from ..conftest import linear_gaussian


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


@pytest.mark.parametrize("kernel", [Langevin(0.1), GradientDescent(0.1)], ids=repr)
@pytest.mark.parametrize("thinning", [1, 3])
@pytest.mark.filterwarnings("ignore:the draws cannot be trusted")
def test_kernels_that_evaluate_a_draw_when_they_leave_it_tell_its_own_lp(
    kernel: Any, thinning: int
) -> None:
    settings: dict[str, Any] = {"kernel": kernel, "thinning": thinning, "chunk_size": 9}
    posterior = _sample(num_samples=6, **settings)
    # A longer run learns of the sixth draw from its next step.
    longer, extended = _sample(num_samples=10, **settings), posterior.extend(4, progress=False)
    potential = bind(_model(), _data())
    for chain in range(3):
        for draw in range(10):
            energy, _ = potential(longer.position[chain, draw])
            torch.testing.assert_close(-longer.sample_stats["lp"][chain, draw], energy)
    for name, value in longer.sample_stats.items():
        assert torch.equal(extended.sample_stats[name], value)
        if name != "step_size":
            assert torch.equal(posterior.sample_stats[name], value[:, :6])


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
from explainaway.inference.runs.chunk_run import ChunkRun
advance, count = ChunkRun.advance, 0
def stopping(self):
    global count
    count += 1
    if count == 37:
        signal.raise_signal(signal.SIGINT)
    return advance(self)
ChunkRun.advance = stopping
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
    assert a.num_gradients == pytest.approx(b.num_gradients, rel=1e-12)


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
    assert "1 chain never moved, (example, chain) [(2, 2)]" in str(summary)


def test_nothing_to_compare_is_nan_not_fine() -> None:
    summary = summarise(torch.ones(2, 10, 1, 1))
    assert np.isnan(summary.worst_rhat)
    assert summary.frozen == [(0, 0), (0, 1)]
    assert "2 chains never moved" in str(summary)


def test_divergences_are_counted_and_located() -> None:
    with pytest.warns(SamplingWarning, match=r"proposals diverged, in \d of 5 examples"):
        _sample(kernel=HMC(10, step_size=5.0), warmup_steps=0)


def test_an_extended_run_is_the_longer_run(tmp_path: Path) -> None:
    model = _model()
    accumulate = {"image": model.decode}
    for kernel in (HMC(3), HMC()):
        whole = _sample(num_samples=50, warmup_steps=60, accumulate=accumulate, kernel=kernel)
        part = _sample(num_samples=20, warmup_steps=60, accumulate=accumulate, kernel=kernel)
        _assert_same(part.extend(30, progress=False), whole)
    part.save(tmp_path / "part.pt")
    loaded = Posterior.load(
        tmp_path / "part.pt", bind(_model(), _data()), HMC(), accumulate=accumulate
    )
    extended = loaded.extend(10, progress=False).extend(20, progress=False)
    _assert_same(extended, whole)
    assert extended.position.shape == (3, 50, 5, 2)


def test_a_posterior_that_cannot_be_extended_says_why(tmp_path: Path) -> None:
    model = _model()
    posterior = sample_posterior(model, _data(), num_samples=10, warmup_steps=0, progress=False)
    posterior.save(tmp_path / "draws.pt")
    with pytest.raises(ValueError, match="loaded without its model"):
        Posterior.load(tmp_path / "draws.pt").extend(5)
    with pytest.raises(ValueError, match="kernel must be the one that the draws were made with"):
        Posterior.load(tmp_path / "draws.pt", bind(model, _data()), MALA())
    with torch.no_grad():
        model.network[0].bias.add_(1.0)
    with pytest.raises(ValueError, match="parameters have changed"):
        posterior.extend(5)


def test_chunks_give_the_draws_of_the_whole() -> None:
    """Up to rounding, so the chains are kept short; 2 examples of 3 chains at a time."""
    model = _model()
    short: dict[str, Any] = {"warmup_steps": 0, "num_samples": 8, "kernel": MALA(0.05)}
    whole = _sample(**short, accumulate={"image": model.decode})
    for chunk_size in (1, 7):
        parts = _sample(**short, accumulate={"image": model.decode}, chunk_size=chunk_size)
        torch.testing.assert_close(parts.position, whole.position, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            parts.accumulated["image"].mean, whole.accumulated["image"].mean, rtol=1e-3, atol=1e-3
        )
        assert parts.num_gradients == whole.num_gradients
    extended = parts.extend(4, progress=False)
    assert extended.position.shape == (3, 12, 5, 2)


def test_chunks_stopped_and_resumed_give_the_same_bits(tmp_path: Path) -> None:
    """Ctrl-C in the second of three chunks: 30 draws each, so after 30 + 12."""
    settings: dict[str, Any] = {"chunk_size": 6}
    whole = _sample(accumulate={"z": _StopAt(-1)}, **settings)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 82 of 150"):
        _sample(accumulate={"z": _StopAt(42)}, checkpoint=tmp_path / "run.pt", **settings)
    resumed = _sample(accumulate={"z": _StopAt(-1)}, checkpoint=tmp_path / "run.pt", **settings)
    _assert_same(resumed, whole)
    again = _sample(accumulate={"z": _StopAt(1)}, checkpoint=tmp_path / "run.pt", **settings)
    _assert_same(again, whole)


def test_thinning_keeps_every_kth_draw_of_the_same_chain() -> None:
    every = _sample(num_samples=30)
    third = _sample(num_samples=10, thinning=3)
    assert torch.equal(third.position, every.position[:, 2::3])
    assert third.num_gradients == every.num_gradients


def test_thinning_lowers_the_correlation_as_it_should() -> None:
    """Case 7 (tensorflow/probability#1031): Langevin, s² = .2, thinned by 10: .9^10 = .349."""
    linear = linear_gaussian(torch.zeros(1, 1))
    posterior = sample_posterior(
        linear.model,
        torch.zeros(2000, 1),
        kernel=Langevin(0.2**0.5),
        num_chains=1,
        warmup_steps=50,
        num_samples=20,
        thinning=10,
        progress=False,
    )
    z = posterior.position[0, :, :, 0]
    correlation = float((z[1:] * z[:-1]).mean() / (z**2).mean())
    # 2,000 independent chains of 19 pairs: standard error below 1/sqrt(2,000) = .022; five.
    assert correlation == pytest.approx(0.349, abs=0.11)


def test_a_warmed_up_tuning_serves_again_and_on_other_examples() -> None:
    warm = _sample(warmup_steps=200, kernel=HMC(5))
    again = _sample(warmup_steps=0, kernel=HMC(5), tuning=warm.tuning, seed=3)
    assert torch.equal(again.tuning["scale"], warm.tuning["scale"])
    assert torch.equal(again.sample_stats["step_size"], warm.sample_stats["step_size"])
    others = _sample(
        y=_data(9), warmup_steps=0, num_samples=100, kernel=HMC(5), tuning=warm.typical_tuning()
    )
    assert (others.sample_stats["step_size"] == warm.tuning["step_size"].median()).all()
    assert float(others.sample_stats["acceptance_rate"].mean()) > 0.5
    with pytest.raises(ValueError, match=r"tuning\['step_size'\] must lead with the 9 examples"):
        _sample(y=_data(9), tuning=warm.tuning)
    with pytest.raises(ValueError, match="'scale', which Langevin does not adapt"):
        _sample(kernel=Langevin(0.1), tuning=warm.tuning)


def test_a_dense_tuning_for_other_examples_is_their_mean() -> None:
    warm = _sample(warmup_steps=100, kernel=HMC(5, mass="dense"))
    typical = warm.typical_tuning()["scale"]
    expected = (warm.tuning["scale"] @ warm.tuning["scale"].mT).mean(0)
    torch.testing.assert_close((typical @ typical.mT)[0], expected)


def _two_sites(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        rate = pyro.sample("rate", dist.Gamma(torch.tensor(3.0), torch.tensor(1.0)))
        shift = pyro.sample("shift", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        mean = rate[:, None] + shift.cumsum(-1)
        pyro.sample("y", dist.Normal(mean, 0.5).to_event(1), obs=y)


@pytest.mark.parametrize("two", [False, True])
def test_draws_on_disk_are_those_in_memory(tmp_path: Path, two: bool) -> None:
    model, y = (_two_sites, torch.rand(5, 2)) if two else (_model(), _data())
    settings: dict[str, Any] = {"warmup_steps": 20, "num_samples": 30, "progress": False}
    memory = sample_posterior(model, y, **settings)
    disk = sample_posterior(model, y, draws_file=tmp_path / "draws.nc", chunk_size=8, **settings)
    assert disk.position.shape == memory.position.shape
    assert set(disk.samples) == set(memory.samples)
    opened = az.from_netcdf(str(tmp_path / "draws.nc"))
    for name, value in disk.samples.items():
        assert opened["posterior"][name].dims[:3] == ("chain", "draw", "example")
        np.testing.assert_array_equal(opened["posterior"][name].values, value.numpy())
    np.testing.assert_array_equal(
        opened["sample_stats"]["lp"].values, disk.sample_stats["lp"].numpy()
    )
    whole = sample_posterior(model, y, draws_file=tmp_path / "whole.nc", **settings)
    _assert_same(whole, memory)
    for name, value in memory.samples.items():
        assert torch.equal(whole.samples[name], value)
    with pytest.raises(ValueError, match="exists already"):
        sample_posterior(model, y, draws_file=tmp_path / "whole.nc", **settings)


def test_draws_on_disk_stopped_and_resumed_give_the_same_bits(tmp_path: Path) -> None:
    files = {"draws_file": tmp_path / "draws.nc", "checkpoint": tmp_path / "run.pt"}
    with pytest.raises(KeyboardInterrupt):
        _sample(accumulate={"z": _StopAt(11)}, **files)
    resumed = _sample(accumulate={"z": _StopAt(-1)}, **files)
    _assert_same(resumed, _sample(accumulate={"z": _StopAt(-1)}))
    size = (tmp_path / "run.pt").stat().st_size
    assert size < 30 * 3 * 5 * 2 * 4 + 30_000


def test_a_guide_places_the_chains() -> None:
    model, y = _model(), _data().nan_to_num()
    guide = AutoNormal(poutine.block(model, hide=["y"]))
    guide(y)
    posterior = sample_posterior(
        model,
        y,
        num_samples=4,
        warmup_steps=0,
        kernel=MALA(1e-6),
        init_strategy=init_to_value(values=guide.median(y)),
        progress=False,
    )
    torch.testing.assert_close(
        posterior.position[:, 0], guide.median(y)["z"].expand(4, 5, 2), rtol=0, atol=1e-4
    )


def test_draws_serve_pyros_predictive() -> None:
    model = _model()
    posterior = _sample()
    predictive = Predictive(model, posterior_samples=posterior.get_samples(), return_sites=("y",))
    drawn = predictive(num_examples=5)["y"]
    assert drawn.shape == (90, 5, 3, 4)
    mean = model.decode(posterior.get_samples()["z"]).detach()
    # σ = .3, 5,400 cells: the mean square of the noise has standard error .09 √(2/5,400); six.
    assert float(((drawn.detach() - mean) ** 2).mean()) == pytest.approx(0.09, abs=0.011)


def test_what_is_wrong_is_said_in_one_message() -> None:
    with pytest.warns(SamplingWarning) as caught:
        _sample(kernel=MALA(0.001), warmup_steps=0, num_samples=300)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "r-hat is above what chance explains in 5 of 5 examples" in message
    assert "ESS is below 6 a chain" in message


def test_good_draws_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior = _sample(warmup_steps=300, num_samples=1000, num_chains=4)
    assert posterior.summary().problems() == []


def test_a_mirrored_chain_is_found_out_by_its_energy() -> None:
    """Case 3: x -> -x for ever: the mean's ESS is superb and x² never moves."""
    start = torch.randn(4, 1, 1, 1)
    sign = torch.tensor([1.0, -1.0]).repeat(100)[None, :, None, None]
    draws = sign * start + 1e-4 * torch.randn(4, 200, 1, 1)
    summary = summarise(draws, lp=-0.5 * draws[..., 0] ** 2)
    assert summary.ess.min() > 800
    assert summary.rhat_lp[0] > 2
    assert "r-hat is above" in str(summary)


def test_the_worst_examples_come_first() -> None:
    draws = torch.randn(4, 200, 5, 2)
    draws[0, :, 3] += 5
    draws[0, :, 1, 0] += 1
    diverging = torch.zeros(4, 200, 5, dtype=torch.bool)
    diverging[0, :7, 3] = True
    worst = summarise(draws, diverging=diverging).worst(2)
    assert [one.example for one in worst] == [3, 1]
    assert worst[0].num_diverging == 7
    assert worst[0].rhat > worst[1].rhat > 1.01


def test_annealing_finds_better_modes() -> None:
    """A rugged likelihood, y = 3z + sin(6z): chains that meet it at once stay where they start."""

    def rugged(y: Tensor) -> None:
        with pyro.plate("examples", len(y)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(y), 2), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(3 * z + torch.sin(6 * z), 0.3).to_event(1), obs=y)

    z = torch.randn(250, 2)
    y = 3 * z + torch.sin(6 * z)
    settings: dict[str, Any] = {"kernel": HMC(10), "num_samples": 50, "progress": False}
    annealed = sample_posterior(rugged, y, **settings).sample_stats["lp"].mean((0, 1))
    at_once = sample_posterior(rugged, y, init_strategy=init_to_sample, **settings)
    gain = annealed - at_once.sample_stats["lp"].mean((0, 1))
    # 250 examples, paired: three standard errors.
    assert float(gain.mean()) > 3 * float(gain.std()) / 250**0.5
