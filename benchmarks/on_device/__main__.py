"""Check on a device all that must be there as it is on the CPU.

    python -m benchmarks.on_device [--device cuda] [--smoke] [--only words] [--output checks.json]

Moves models to the device, gives them data from anywhere, learns, samples, fills, saves and loads
there and back, and compares with the CPU: numbers that must agree up to rounding, bits that must be
those of another run on the same device, closed forms within Monte Carlo error. Prints a table,
writes it as JSON where asked, and ends with 1 if a check failed. Minutes on a GPU; ``--smoke``
takes less and sees less of what is statistical.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch

from explainaway.inference import CaptureWarning

from . import learning, pieces, sampling
from .check import Where

CHECKS = [*sampling.CHECKS, *learning.CHECKS, *pieces.CHECKS]


def main() -> int:
    """Run the checks that are asked for; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--smoke", action="store_true", help="shorter chains")
    parser.add_argument("--only", action="append", help="checks whose name has these words")
    parser.add_argument("--output", type=Path, help="a JSON file")
    options = parser.parse_args()
    device = torch.device(options.device)
    # Otherwise convolutions round as the CPU's do not.
    torch.backends.cudnn.allow_tf32 = False
    words = options.only or [""]
    chosen = [check for check in CHECKS if any(word in check.name for word in words)]
    rows: list[dict[str, Any]] = []
    print(f"{_card(device)}, torch {torch.__version__}", flush=True)
    for check in chosen:
        began = time.monotonic()
        row: dict[str, Any] = {"check": check.name, "claim": check.claim}
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # What is captured on the CPU is captured there.
            warnings.simplefilter("error", CaptureWarning)
            warnings.filterwarnings(
                "ignore", "the draws cannot be trusted|learning has not arrived"
            )
            try:
                row["found"] = check.run(Where(device, options.smoke, Path(folder)))
                row["passed"] = True
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                row["found"] = f"{type(error).__name__}: {error}".split("\n")[0][:300]
                row["at"] = f"{Path(place.filename).name}:{place.lineno}"
                row["trace"] = traceback.format_exc()
                row["passed"] = False
        row["seconds"] = round(time.monotonic() - began, 2)
        rows.append(row)
        print(_line(row), flush=True)
    failed = sum(not row["passed"] for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    if options.output is not None:
        told = {"device": _card(device), "torch": torch.__version__, "smoke": options.smoke}
        options.output.write_text(json.dumps({**told, "checks": rows}, indent=1) + "\n")
    return int(failed > 0 or not rows)


def _card(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} ({platform.processor() or platform.machine()})"


def _line(row: dict[str, Any]) -> str:
    verdict = "pass" if row["passed"] else "FAIL"
    return (
        f"{verdict}  {row['check']:<60} {row['claim']:<9} {row['seconds']:>6.1f} s  {row['found']}"
    )


if __name__ == "__main__":
    sys.exit(main())
