"""Run the paired benchmarks and write their table.

    python -m benchmarks.run [--only energy learning] [--smoke]

One thread on one processor for every side. ``jax`` and ``pyro`` compare with other libraries; the
former needs the extra ``bench``.
"""

import argparse
import importlib.util
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

# Before any library reads them.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import torch

from . import rows_energy, rows_learning, rows_machine, rows_pyro
from .table import Row, markdown, write

RESULTS = Path(__file__).parent / "results"


def _jax_rows(smoke: bool) -> list[Row]:
    lacking = [n for n in ("jax", "blackjax", "numpyro") if importlib.util.find_spec(n) is None]
    if lacking:
        print(f"{lacking} are not installed, so not compared: pip install 'explainaway[bench]'")
        return []
    from . import rows_jax

    return rows_jax.rows(smoke)


SECTIONS: dict[str, Callable[[bool], list[Row]]] = {
    "energy": rows_energy.rows,
    "learning": rows_learning.rows,
    "machine": rows_machine.rows,
    "jax": _jax_rows,
    "pyro": rows_pyro.rows,
}


def main() -> None:
    """Run the sections that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--smoke", action="store_true", help="seconds, to see that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    rows: list[Row] = []
    for name in options.only:
        rows += SECTIONS[name](options.smoke)
        minutes = (time.monotonic() - began) / 60
        print(f"{name}: done after {minutes:.1f} minutes", flush=True)
    machine = {
        "processor": _processor(),
        "threads": 1,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    print(markdown(rows, machine))
    write(rows, machine, options.output)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
