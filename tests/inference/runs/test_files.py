"""Files of ours: damaged, foreign and left-over ones; no space left."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explainaway.inference import AlternatingBackProp, Posterior, sample_posterior
from explainaway.inference.runs.checkpoint import load_checkpoint, save_checkpoint
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp

ROOT = Path(__file__).parents[3]
SETTINGS: dict[str, Any] = {"warmup_steps": 5, "num_samples": 4, "progress": False}
Y = torch.rand(6, 6, generator=torch.Generator().manual_seed(1))


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (6,), hidden=(8,)), Gaussian(0.3))


def _fit(path: Path, **more: Any) -> Any:
    abp = AlternatingBackProp(_model(), batch_size=3, **more)
    return abp.fit(Y, epochs=1, checkpoint=path, progress=False)


def _sample(path: Path, **more: Any) -> Posterior:
    return sample_posterior(_model(), Y, checkpoint=path, **SETTINGS, **more)


def _posterior(path: Path) -> Posterior:
    if not path.exists():
        sample_posterior(_model(), Y, **SETTINGS).save(path)
    return Posterior.load(path)


KINDS = {"fit": _fit, "sampling": _sample, "posterior": _posterior}


@pytest.fixture(params=KINDS)
def use(request: pytest.FixtureRequest) -> Callable[[Path], Any]:
    """Make a file, or go on from the one that is there."""
    return KINDS[request.param]


def test_a_flipped_byte_is_noticed_wherever_it_is(
    tmp_path: Path, use: Callable[[Path], Any]
) -> None:
    """Case 52: 26 of 50 sampling runs went on with other numbers, 17 of 166 posteriors loaded."""
    path = tmp_path / "file.pt"
    use(path)
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 60).round().astype(int):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"file\.pt' (is damaged|cannot be read)"):
            use(path)
    path.write_bytes(content)
    use(path)


def test_the_checksum_itself_is_guarded(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    save_checkpoint(path, {"kind": "a test", "identity": {}})
    content = path.read_bytes()
    for place in range(len(content) - 100, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            load_checkpoint(path, "a test", {}, ())
    path.write_bytes(content + b"\n")
    with pytest.raises(ValueError, match="is damaged"):
        load_checkpoint(path, "a test", {}, ())


def _text(path: Path) -> None:
    path.write_text("epoch,loss\n1,0.5\n" * 100, encoding="utf-16")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.arange(1000.0))


def _weights(path: Path) -> None:
    torch.save(_model().state_dict(), path)


def _a_tensor(path: Path) -> None:
    torch.save(torch.rand(3), path)


def _whole_model(path: Path) -> None:
    torch.save(_model(), path)


def _folder(path: Path) -> None:
    path.mkdir()


def _truncated(path: Path) -> None:
    save_checkpoint(path, {"kind": "a fit", "identity": {}, "rest": torch.rand(1000)})
    path.write_bytes(path.read_bytes()[:-500])


FOREIGN = [_text, _empty, _array, _weights, _a_tensor, _whole_model, _folder, _truncated]


@pytest.mark.parametrize("write", FOREIGN)
def test_other_files_are_refused_by_name(
    tmp_path: Path, use: Callable[[Path], Any], write: Callable[[Path], None]
) -> None:
    path = tmp_path / "file.pt"
    write(path)
    with pytest.raises(ValueError, match=r"file\.pt' (cannot be read|is not a checkpoint of expl)"):
        use(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    _fit(path)
    with pytest.raises(ValueError, match="is one of a fit, not one of a sampling run"):
        _sample(path)
    with pytest.raises(ValueError, match="is one of a fit, not one of a posterior"):
        Posterior.load(path)
    with pytest.raises(ValueError, match=r"there is no file .*nothing"):
        Posterior.load(tmp_path / "nothing")


def test_a_damaged_copy_of_the_chains_is_refused(tmp_path: Path) -> None:
    settings = {"chains_file": tmp_path / "chains.bin"}
    _fit(tmp_path / "run[1].pt", **settings)
    (copy,) = (name for name in os.listdir(tmp_path) if name.startswith("run[1].pt.chains-"))
    content = bytearray((tmp_path / copy).read_bytes())
    content[10] ^= 1
    (tmp_path / copy).write_bytes(content)
    with pytest.raises(ValueError, match=r"chains of checkpoint .* damaged"):
        _fit(tmp_path / "run[1].pt", **settings)


KILLED = """
import os, sys, signal, pathlib, torch
sys.path.insert(0, sys.argv[2])
from tests.inference.runs import test_files as t
from explainaway.inference import MALA
folder = pathlib.Path(sys.argv[1])
class Dying(MALA):
    def step(self, *arguments):
        (folder / f".run.pt.{os.getpid()}.abcdefgh.part").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    def __repr__(self):
        return repr(MALA())
if sys.argv[3] == "sampling":
    t._sample(folder / "run.pt", draws_file=folder / "file", kernel=Dying(), capture=False)
else:
    t._fit(folder / "run.pt", chains_file=folder / "file", kernel=Dying(), capture=False)
"""


@pytest.mark.parametrize("kind", ["sampling", "fit"])
def test_killed_before_the_first_checkpoint_it_can_start_again(tmp_path: Path, kind: str) -> None:
    """Case 52; and what it left behind is gone."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(ROOT), kind],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = set(os.listdir(tmp_path))
    assert {"file", ".file.unfinished"} < names
    assert len(names) == 3
    run: Callable[[], Any] = (
        (lambda: _sample(tmp_path / "run.pt", draws_file=tmp_path / "file"))
        if kind == "sampling"
        else (lambda: _fit(tmp_path / "run.pt", chains_file=tmp_path / "file"))
    )
    # Somebody else's file of that name is not taken for it.
    (tmp_path / "file").rename(tmp_path / "kept")
    (tmp_path / "file").write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"_file .*file' exists already"):
        run()
    (tmp_path / "kept").replace(tmp_path / "file")
    run()
    hidden = [name for name in os.listdir(tmp_path) if name.startswith(".")]
    assert hidden == []
    # Finished, it is a file like any other.
    (tmp_path / "run.pt").unlink()
    with pytest.raises(ValueError, match=r"_file .*file' exists already"):
        run()


def test_a_draws_file_that_is_no_netcdf_is_refused_on_going_on(tmp_path: Path) -> None:
    _sample(tmp_path / "run.pt", draws_file=tmp_path / "draws.nc")
    (tmp_path / "draws.nc").write_text("nothing")
    with pytest.raises(ValueError, match=r"draws\.nc' is not a NetCDF file, or it is damaged"):
        _sample(tmp_path / "run.pt", draws_file=tmp_path / "draws.nc")


LIMITED = """
import sys, pathlib, resource
sys.path.insert(0, sys.argv[2])
from tests.inference.runs import test_files as t
posterior = t.sample_posterior(t._model(), t.Y, **t.SETTINGS)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for argument in sys.argv[3:]:
    what, limit = argument.split()
    folder = pathlib.Path(sys.argv[1]) / what
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), most))
    said = ""
    try:
        if what == "draws":
            t._sample(folder / "run.pt", draws_file=folder / "file")
        elif what == "chains":
            t._fit(folder / "run.pt", chains_file=folder / "file")
        elif what == "sampling":
            t._sample(folder / "run.pt")
        elif what == "fit":
            t._fit(folder / "run.pt")
        else:
            posterior.save(folder / "run.pt")
    except OSError as error:
        said = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    (folder / "said").write_text(said)
"""

LIMITS = {"draws": 2000, "chains": 10, "sampling": 2000, "fit": 2000, "posterior": 2000}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one for each kind of file: what a process said that had no space."""
    folder = tmp_path_factory.mktemp("limited")
    for what in LIMITS:
        (folder / what).mkdir()
        (folder / what / "earlier").write_text("before")
    arguments = [f"{what} {limit}" for what, limit in LIMITS.items()]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder), str(ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("draws", r"draws_file .*file' takes [\d,]+ bytes, .* nothing has been computed yet"),
        ("chains", "chains_file .*file' takes 48 bytes"),
        ("sampling", r"came to step 9 of 9, .*could not be written: File too large"),
        ("fit", r"came to batch 2 of 2, .*could not be written: File too large"),
        ("posterior", r"File too large: .*run\.pt' could not be written; what was there "),
    ],
)
def test_no_space_left_is_an_error_that_says_how_far_it_got(
    limited: Path, what: str, said: str
) -> None:
    """Case 31 (h5py/h5py#914): a file-size limit; it was a segmentation fault."""
    folder = limited / what
    assert re.search(said, (folder / "said").read_text())
    assert set(os.listdir(folder)) == {"earlier", "said"}
