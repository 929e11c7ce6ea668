"""What is promised of devices, on the CPU and on a device that only pretends to be one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

QUICK = (
    "data on the CPU",
    "captured graphs",
    "keyed noise",
    "two steps of MALA",
    "decode, reconstruct",
    "a loop of one's own",
    "every operator",
)
"""Checks of a second or so."""

NO_KERNEL = {"prior Recurrent"}
"""Torch's GRU cell has an operation for accelerators that the CPU, which does the work, lacks."""


def _checked(folder: Path, device: str, only: tuple[str, ...] = ()) -> dict[str, str]:
    """Run the checks in a process of their own; return what failed, with what was said."""
    path = folder / "checks.json"
    module = ["benchmarks.on_device", "--device", device, "--smoke", "--output", str(path)]
    for word in only:
        module += ["--only", word]
    if device != "cpu":
        module.insert(0, "tests.devices.pretended")
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert path.is_file(), done.stderr
    checks = json.loads(path.read_text())["checks"]
    assert len(checks) >= max(1, len(only))
    failed = {check["check"]: check["found"] for check in checks if not check["passed"]}
    assert done.returncode == int(bool(failed))
    return failed


@pytest.mark.parametrize("device", ["cpu", "pretended"])
def test_a_device_does_what_the_cpu_does(device: str, tmp_path: Path) -> None:
    assert _checked(tmp_path, device, QUICK) == {}


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "pretended"])
def test_a_device_does_all_that_the_cpu_does(device: str, tmp_path: Path) -> None:
    failed = _checked(tmp_path, device)
    assert set(failed) == (set() if device == "cpu" else NO_KERNEL), failed


MIXES = """
import torch
from tests.devices import pretended
device = pretended.register()
here, there = torch.arange(12.0).reshape(3, 4), torch.arange(12.0).reshape(3, 4).to(device)
assert there.device.type == "pretended"
for mixed in (
    lambda: here + there,
    lambda: there @ here.T,
    lambda: torch.cat([there, here]),
    lambda: torch.stack([there[0, 0], here[0, 0]]),
    lambda: here[torch.tensor([0, 1]).to(device)],
    lambda: there.numpy(),
):
    try:
        mixed()
    except (RuntimeError, TypeError) as error:
        assert "device" in str(error), error
    else:
        raise AssertionError("two devices were mixed")
assert torch.equal((2 * there).cpu(), 2 * here)
view = there[1:, ::2]
view[:, 1] = -1.0
here[1:, ::2][:, 1] = -1.0
assert torch.equal(there.cpu(), here)
weight = torch.ones(4, device=device, requires_grad=True)
(there @ weight).sum().backward()
assert torch.equal(weight.grad.cpu(), here.sum(0))
pretended.leave(0)
"""


def test_the_pretended_device_refuses_what_cuda_refuses() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MIXES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
