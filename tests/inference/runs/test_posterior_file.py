"""A posterior's file: what ArviZ reads of it, what the library goes on from, what is refused."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from explainaway.inference import MALA, Posterior, bind, sample_posterior
from explainaway.inference.runs import netcdf, posterior_file
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

ROOT = Path(__file__).parents[3]
SETTINGS: dict[str, Any] = {
    "kernel": MALA(),
    "num_chains": 2,
    "warmup_steps": 30,
    "num_samples": 8,
    "progress": False,
}
Y = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
Y[0, 0] = torch.nan


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (4,), hidden=(8,)), Masked(Gaussian(0.3)))


def _sampled(**more: Any) -> Posterior:
    return sample_posterior(_model(), Y, **{**SETTINGS, **more})


def _two(y: Tensor, flags: Tensor, counts: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        rate = pyro.sample("rate", dist.Gamma(torch.tensor(3.0), torch.tensor(1.0)))
        shift = pyro.sample("shift", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.deterministic("sum", rate + shift.sum(-1))
        mean = rate[:, None] + shift * flags[:, None] + 0 * counts[:, None]
        pyro.sample("y", dist.Normal(mean, 0.5).to_event(1), obs=y)


def _netcdf_part(content: bytes) -> bytes:
    found = re.search(rb"\nexplainaway bytes of what it needs to go on: (\d{16})", content)
    assert found is not None
    return content[: found.start() - int(found[1])]


def _assert_equal(one: Posterior, other: Posterior) -> None:
    for field in ("samples", "sample_stats", "observed", "constant", "tuning"):
        a, b = getattr(one, field), getattr(other, field)
        assert a.keys() == b.keys(), field
        for name in a:
            assert a[name].dtype == b[name].dtype, name
            assert torch.equal(a[name].nan_to_num(), b[name].nan_to_num()), name
    assert torch.equal(one.position, other.position)
    assert (one.seconds, one.num_gradients) == (other.seconds, other.num_gradients)


def test_arviz_opens_every_group(tmp_path: Path) -> None:
    posterior = _sampled()
    posterior.save(
        tmp_path / "saved.nc",
        predictive_draws=5,
        prior_draws=3,
        seed=2,
        dims={"z": ["component"]},
        coords={"component": ["a", "b"]},
        example_labels=np.arange("2021-04-27", "2021-05-02", dtype="datetime64[D]"),
    )
    opened = az.from_netcdf(str(tmp_path / "saved.nc"))
    tree = posterior.to_arviz(predictive_draws=5, prior_draws=3, seed=2)
    assert set(opened.groups()) == set(tree.groups())
    for group in tree.groups():
        for name, expected in tree[group].data_vars.items():
            found = opened[group][name]
            assert found.dtype == expected.dtype, name
            np.testing.assert_array_equal(
                np.broadcast_to(found.values, expected.shape), expected.values
            )
    assert opened["posterior"]["z"].dims == ("chain", "draw", "example", "component")
    assert list(opened["posterior"]["component"].values) == ["a", "b"]
    assert opened["observed_data"]["example"].values[4] == np.datetime64("2021-05-01")
    assert len(az.summary(opened)) == 10


@pytest.mark.parametrize("mapped", [False, True])
def test_every_kind_of_number_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    if mapped:
        monkeypatch.setattr(posterior_file, "LARGEST_COPIED", 1)
    monkeypatch.setattr(posterior_file, "_PIECE", 50)
    data = (torch.rand(6, 2), torch.arange(6) > 2, torch.arange(6) + 2**40)
    posterior = sample_posterior(_two, *data, **SETTINGS)
    posterior.constant["halves"] = torch.rand(6, 3).bfloat16()
    posterior.constant["none"] = torch.zeros(6, 0)
    path = tmp_path / "saved.nc"
    posterior.save(path)
    loaded = Posterior.load(path)
    _assert_equal(loaded, posterior)
    opened = az.from_netcdf(str(path))
    assert opened["constant_data"]["flags"].dtype == bool
    np.testing.assert_allclose(
        opened["posterior"]["sum"],
        posterior.samples["rate"] + posterior.samples["shift"].sum(-1),
        rtol=1e-5,
    )
    opened.close()
    # What is changed in memory stays there, and a file may be written over that is read from.
    before = path.read_bytes()
    loaded.position[0] += 1
    assert path.read_bytes() == before
    loaded.save(path)
    _assert_equal(Posterior.load(path), loaded)


@pytest.mark.parametrize(
    "prior",
    [
        dist.Normal(0.0, 1.0),
        dist.Gamma(2.0, 1.0),
        dist.Dirichlet(torch.ones(3)),
        dist.VonMises(0.0, 1.0),
        dist.Normal(torch.zeros(2, 3), 1.0).to_event(2),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_latents_of_every_shape_and_support_come_back(tmp_path: Path, prior: Any) -> None:
    def model(y: Tensor) -> None:
        with pyro.plate("rows", len(y)):
            z = pyro.sample("z", prior)
            pyro.sample("y", dist.Normal(z.reshape(len(y), -1).sum(-1), 1.0), obs=y)

    posterior = sample_posterior(model, Y[:, 1], draws_file=tmp_path / "draws.nc", **SETTINGS)
    posterior.save(tmp_path / "saved.nc")
    potential = bind(model, Y[:, 1])
    for name in ("draws.nc", "saved.nc"):
        loaded = Posterior.load(tmp_path / name, potential, MALA())
        _assert_equal(loaded, posterior)
        assert (
            az.from_netcdf(str(tmp_path / name))["posterior"]["z"].ndim == loaded.samples["z"].dim()
        )
        more = loaded.extend(3, progress=False).position
        assert torch.equal(more, posterior.extend(3, progress=False).position)


def test_draws_on_disk_are_a_posteriors_file(tmp_path: Path) -> None:
    """Loaded, its chains go on with the same bits; its groups are those that are saved."""
    for name, model, data in (
        ("one", _model(), (Y,)),
        ("two", _two, (torch.rand(6, 2), torch.ones(6), torch.ones(6))),
    ):
        settings = {**SETTINGS, "chunk_size": 6}
        file = tmp_path / f"{name}.nc"
        posterior = sample_posterior(model, *data, draws_file=file, **settings)
        whole = sample_posterior(model, *data, **{**settings, "num_samples": 14})
        loaded = Posterior.load(file, bind(model, *data), MALA())
        _assert_equal(loaded, posterior)
        again = loaded.extend(6, draws_file=tmp_path / f"{name}-more.nc", progress=False)
        assert torch.equal(again.position, whole.position)
        more = Posterior.load(tmp_path / f"{name}-more.nc")
        assert torch.equal(more.position, whole.position[:, 8:])
        posterior.save(tmp_path / "saved.nc", deterministic=False)
        saved, drawn = (az.from_netcdf(str(f)) for f in (tmp_path / "saved.nc", file))
        assert set(saved.groups()) == set(drawn.groups())
        for group in saved.groups():
            assert saved[group].equals(drawn[group]), group
        saved.close()
        drawn.close()


@pytest.mark.parametrize("kind", ["draws", "saved"])
def test_a_flipped_byte_is_noticed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file.nc"
    if kind == "draws":
        _sampled(draws_file=path)
    else:
        _sampled().save(path, predictive_draws=2)
    content = path.read_bytes()
    end = len(content) - 1
    # Everywhere, and each of the last: the checksum, and what it stands behind.
    for place in {*np.linspace(0, end, 150).round().astype(int), *range(end - 150, end + 1)}:
        damaged = bytearray(content)
        damaged[place] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"file\.nc' is damaged"):
            Posterior.load(path)
    for cut in (1, 100, len(content) // 2, len(content) - 8, len(content) - 2):
        path.write_bytes(content[:-cut])
        with pytest.raises(ValueError, match=r"file\.nc' (is damaged|cannot be read)"):
            Posterior.load(path)
    path.write_bytes(content)
    Posterior.load(path)


def test_draws_that_are_damaged_are_not_gone_on_with(tmp_path: Path) -> None:
    files = {"draws_file": tmp_path / "draws.nc", "checkpoint": tmp_path / "run.pt"}
    posterior = _sampled(**files)
    before = posterior.position.clone()
    content = files["draws_file"].read_bytes()
    again = _sampled(**files)
    assert torch.equal(again.position, before)
    # Finished anew, it is the file that it was.
    assert _netcdf_part(files["draws_file"].read_bytes()) == _netcdf_part(content)
    _assert_equal(Posterior.load(files["draws_file"]), posterior)
    del posterior, again
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    files["draws_file"].write_bytes(damaged)
    with pytest.raises(ValueError, match=r"draws_file .*draws\.nc' is damaged: its checksum"):
        _sampled(**files)


@pytest.mark.parametrize(
    "labels",
    [
        [1, 2, 3, 4, 5],
        [0.5, 1.0, 2.0, 3.0, 4.0],
        ["a", "bb", "ä", "", "e"],
        list(pd.date_range("2021-01-01", periods=5, freq="h")),
    ],
    ids=["int", "float", "str", "date"],
)
def test_labels_come_back(tmp_path: Path, labels: list[Any]) -> None:
    posterior = _sampled()
    posterior.save(tmp_path / "saved.nc", example_labels=labels)
    expected = posterior.to_arviz(example_labels=labels, predictive_draws=0, prior_draws=0)
    opened = az.from_netcdf(str(tmp_path / "saved.nc"))
    for group in ("posterior", "observed_data"):
        np.testing.assert_array_equal(
            opened[group]["example"].values, expected[group]["example"].values
        )


def test_files_of_other_programs_are_refused(tmp_path: Path) -> None:
    tree = _sampled().to_arviz(predictive_draws=0, prior_draws=0)
    path = tmp_path / "file.nc"
    tree.to_netcdf(str(path))
    with pytest.raises(ValueError, match=r"file\.nc' is damaged or unfinished, or was written by"):
        Posterior.load(path)
    with pytest.raises(ValueError, match=r"draws_file .*file\.nc' exists already"):
        _sampled(draws_file=path)


def test_coordinates_that_no_file_can_hold_are_refused_first(tmp_path: Path) -> None:
    posterior = _sampled()
    with pytest.raises(ValueError, match="example_labels must hold one label"):
        posterior.save(tmp_path / "saved.nc", example_labels=[1])
    with pytest.raises(ValueError, match=r"coords\['example'\] must hold one value for each"):
        posterior.save(tmp_path / "saved.nc", example_labels=[(i, 2) for i in range(5)])
    assert os.listdir(tmp_path) == []


KILLED = """
import os, sys, signal, pathlib
sys.path.insert(0, sys.argv[2])
from tests.inference.runs import test_posterior_file as t
folder = pathlib.Path(sys.argv[1])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if os.fork() == 0:
    t.posterior_file.add_checksum = die
    t._sampled(draws_file=folder / "draws" / "draws.nc", checkpoint=folder / "draws" / "run.pt")
assert os.wait()[1] == signal.SIGKILL
t._sampled(seed=5).save(folder / "saved" / "saved.nc")
t._sampled(seed=5).save(folder / "before.nc")
t.posterior_file.add_checksum = die
t._sampled().save(folder / "saved" / "saved.nc")
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which two processes have been killed at the end of a file."""
    folder = tmp_path_factory.mktemp("killed")
    for name in ("draws", "saved"):
        (folder / name).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(ROOT)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return folder


def test_a_killed_save_leaves_the_old_file(killed: Path) -> None:
    folder = killed / "saved"
    assert len(os.listdir(folder)) == 2
    old, before = Posterior.load(folder / "saved.nc"), Posterior.load(killed / "before.nc")
    assert torch.equal(old.position, before.position)
    # What was half written goes when the next one is.
    _sampled().save(folder / "saved.nc")
    assert os.listdir(folder) == ["saved.nc"]
    assert not torch.equal(Posterior.load(folder / "saved.nc").position, before.position)


def test_killed_at_its_end_sampling_to_disk_is_finished_by_its_checkpoint(killed: Path) -> None:
    path, checkpoint = killed / "draws" / "draws.nc", killed / "draws" / "run.pt"
    with pytest.raises(ValueError, match=r"draws\.nc' is damaged or unfinished.* its checkpoint"):
        Posterior.load(path)
    # It can be looked at all the same.
    assert az.from_netcdf(str(path))["posterior"]["z"].shape == (2, 8, 5, 2)
    posterior = _sampled(draws_file=path, checkpoint=checkpoint)
    assert torch.equal(posterior.position, _sampled().position)
    loaded = Posterior.load(path, bind(_model(), Y), MALA())
    _assert_equal(loaded, posterior)
    more = loaded.extend(3, progress=False).position
    assert torch.equal(more, _sampled(num_samples=11).position)


def test_a_file_is_laid_out_within_what_was_taken_for_it(tmp_path: Path) -> None:
    """HDF5 must not find the disk full: what it takes was there before."""
    taken: list[int] = []

    def take(path: Path, num_bytes: int) -> None:
        taken.append(num_bytes)

    labels = [f"an example of a long name, number {i}" for i in range(3000)]
    variables = {
        f"group{g}/variable{i}": netcdf.Variable(("example", f"dim{i}"), (3000, i), torch.float32)
        for g in range(3)
        for i in range(20)
    }
    coords = {f"group{g}": {"example": labels} for g in range(3)}
    netcdf.make(tmp_path / "file.nc", variables, coords, take)
    assert len(taken) == 2
    assert taken[1] == (tmp_path / "file.nc").stat().st_size <= taken[0]
