"""How the cost of learning grows with examples, latents, chains and image side.

    python -m benchmarks.scale [--smoke]

Every point is a process of its own: seconds of a sweep, and the most memory that the process had
beyond files mapped into it. The exponent is that of a power law through the last points of each
curve.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from explainaway.inference import MALA, AlternatingBackProp
from explainaway.models import Gaussian, GeneratorModel, Normal, deconvnet, mlp

RESULTS = Path(__file__).parent / "results"
COLUMNS = 64
STEPS = 3

CURVES: dict[str, Sequence[int]] = {
    "examples": (1_000, 10_000, 100_000, 1_000_000),
    "latents": (2, 10, 50, 250, 1_000),
    "chains": (1, 4, 16, 64),
    "image side": (32, 64, 128, 256),
}
UNITS = {
    "examples": "µs an example and sweep",
    "latents": "µs an example and sweep",
    "chains": "µs a chain and sweep",
    "image side": "ns a pixel and sweep",
}


def point(curve: str, value: int) -> dict[str, Any]:
    """Learn for one sweep after a first one, in this process; return its cost."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    peak = _PeakMemory()
    with tempfile.TemporaryDirectory() as folder:
        n, latents, chains = 2_000, 10, 1
        if curve == "examples":
            n = value
        elif curve == "latents":
            latents = value
        elif curve == "chains":
            n, chains = 500, value
        if curve == "image side":
            n = 40
            y = 2 * torch.rand(n, 3, value, value) - 1
            shape = (3, value, value)
            network: torch.nn.Module = deconvnet(latents, shape, width=8, batch_norm=True)
            batch_size, parts = 20, 3 * value**2 * n
        else:
            y = torch.from_file(str(Path(folder) / "y"), shared=True, size=n * COLUMNS)
            y = y.reshape(n, COLUMNS)
            for some in torch.arange(n).split(100_000):
                y[some] = torch.rand(len(some), COLUMNS)
            network = mlp(latents, (COLUMNS,), hidden=(128,))
            batch_size, parts = min(1_000, n), n * chains
        peak.start()
        abp = AlternatingBackProp(
            GeneratorModel(Normal(latents), network, Gaussian(0.3)),
            MALA(),
            inference_steps=STEPS,
            batch_size=batch_size,
            num_chains=chains,
            chains_file=Path(folder) / "chains",
        )
        fit = abp.fit(y, epochs=2, progress=False)
        first, both = fit.history["seconds"]
        megabytes = peak.stop()
    return {
        "curve": curve,
        "value": value,
        "seconds a sweep": round(both - first, 4),
        "cost": (both - first) / parts * (1e9 if curve == "image side" else 1e6),
        "megabytes": round(megabytes, 1),
    }


class _PeakMemory:
    """Watch this process's anonymous memory: what is neither shared nor of a file."""

    def __init__(self) -> None:
        self._most = 0.0
        self._before = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._before = _anonymous_megabytes()
        self._thread.start()

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self._most - self._before

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self._most = max(self._most, _anonymous_megabytes())


def _anonymous_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return float(line.split()[1]) / 1024
    return 0.0


def exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent of a power law through the last three points."""
    x, y = np.log(values[-3:]), np.log(costs[-3:])
    return float(np.polyfit(x, y, 1)[0])


def main() -> None:
    """Run every point and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="two points of each curve, seconds")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(point(options.point[0], int(options.point[1]))))
        return
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    for curve, values in CURVES.items():
        for value in values[:2] if options.smoke else values:
            command = [sys.executable, "-m", "benchmarks.scale", "--point", curve, str(value)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    exponents = {}
    for curve in CURVES:
        some = [row for row in rows if row["curve"] == curve]
        exponents[curve] = round(exponent([r["value"] for r in some], [r["cost"] for r in some]), 3)
    content = {
        "threads": 1,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "exponents of the cost": exponents,
        "rows": rows,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "scale.json").write_text(json.dumps(content, indent=1) + "\n")
    _draw(rows, exponents, options.output / "scale.png")
    print(exponents)


def _draw(rows: list[dict[str, Any]], exponents: dict[str, float], path: Path) -> None:
    figure, axes = plt.subplots(2, 4, figsize=(12, 4.6), layout="constrained", sharex="col")
    for column, curve in enumerate(CURVES):
        some = [row for row in rows if row["curve"] == curve]
        x = [row["value"] for row in some]
        axes[0, column].loglog(x, [row["cost"] for row in some], "o-", ms=4)
        axes[0, column].set_title(f"{curve}: cost ~ {curve}^{exponents[curve]:.2f}", fontsize=9)
        axes[0, column].set_ylabel(UNITS[curve], fontsize=8)
        axes[1, column].loglog(x, [max(row["megabytes"], 0.1) for row in some], "s-", ms=4)
        axes[1, column].set_ylabel("peak memory, MB", fontsize=8)
        axes[1, column].set_xlabel(curve, fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    main()
