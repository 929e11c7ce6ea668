"""Five figures of learning: how long, what moves slowly, how noisy, how wide, how sure.

    python -m benchmarks.learning.figures [--only NAME ...] [--smoke]

Measures and draws them into ``results/learning_*.png`` for docs/learning.md, and keeps the numbers
in ``results/learning_figures.json``, from which ``--redraw`` draws without measuring. One thread.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import drawn
from .chosen_sizes import how_wide
from .coverage import linear_rows
from .followed import how_long, how_noisy, what_moves_slowly
from .network_coverage import SMOKE, Effort, network_rows
from .runs import code_digest

RESULTS = Path(__file__).parents[1] / "results"
Numbers = dict[str, Any]


def how_sure(smoke: bool) -> Numbers:
    """Return the coverage of intervals at learned parameters, linear and curved."""
    if smoke:
        return {"linear": linear_rows(200, range(1), ()), "network": network_rows([0], SMOKE)}
    linear = [
        *linear_rows(50, range(12), ()),
        *linear_rows(200, range(12), range(3)),
        *linear_rows(2000, range(3), ()),
    ]
    return {"linear": linear, "network": network_rows(range(3), Effort())}


FIGURES: dict[str, tuple[Callable[[bool], Numbers], Callable[[Numbers, Path], None]]] = {
    "how_long": (how_long, drawn.how_long),
    "what_moves_slowly": (what_moves_slowly, drawn.what_moves_slowly),
    "how_noisy": (how_noisy, drawn.how_noisy),
    "how_wide": (how_wide, drawn.how_wide),
    "how_sure": (how_sure, drawn.how_sure),
}
"""What is measured and how it is drawn, by name."""


def main() -> None:
    """Measure and draw what is asked for."""
    options = _options()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "learning_figures.json"
    kept: dict[str, Numbers] = json.loads(path.read_text()) if path.is_file() else {}
    for name in options.only:
        measure, draw = FIGURES[name]
        began = time.process_time()
        if not options.redraw:
            numbers = {**measure(options.smoke), "code": code_digest()}
            numbers["cpu_seconds"] = time.process_time() - began
            kept[name] = _plain(numbers)
            path.write_text(json.dumps(kept, indent=None, separators=(",", ":")) + "\n")
        draw(kept[name], options.output / f"learning_{name}.png")
        print(f"{name}: {kept[name]['cpu_seconds']:.0f} s", flush=True)
    for line in told(kept):
        print(line)


def told(kept: dict[str, Numbers]) -> list[str]:
    """Return the tables of docs/learning.md."""
    lines: list[str] = []
    for name, table in (("how_noisy", _noisy_table), ("how_wide", _wide_table)):
        if name in kept:
            lines += ["", *table(kept[name])]
    if "how_sure" in kept:
        for part in ("linear", "network"):
            lines += ["", *_sure_table(kept["how_sure"][part])]
    return lines


def _noisy_table(numbers: Numbers) -> list[str]:
    lines = ["| cells held out | seed | epochs | scale | nats per hidden pixel | RMSE of them |"]
    lines.append("|---|---|---|---|---|---|")
    for run in sorted(numbers["runs"], key=lambda run: run["hold_out"] is None):
        lines.append(
            f"| {'yes' if run['hold_out'] else 'none'} | {run['seed']} | {len(run['loss'])} | "
            f"{run['scale'][-1]:.3f} | {run['hidden_nats'][-1]:.2f} | {run['rmse']:.3f} |"
        )
    return lines


def _wide_table(numbers: Numbers) -> list[str]:
    lines = ["| | held-out nats | difference | hidden nats | difference |", "|---|---|---|---|---|"]
    for row in numbers["candidates"]:
        seen, truth = row["held_out"], row["hidden"]
        lines.append(
            f"| {row['candidate']} | {seen['held_out_nats']:.3f} | {seen['difference']:.3f} ± "
            f"{seen['difference_error']:.3f} | {truth['nats']:.3f} | {truth['difference']:.3f} ± "
            f"{truth['difference_error']:.3f} |"
        )
    return lines


def _sure_table(rows: list[Numbers]) -> list[str]:
    lines = ["| rows | θ | 50 % | 80 % | 90 % | 95 % | seconds |", "|---|---|---|---|---|---|---|"]
    for (n, way), found in drawn.by_way(rows).items():
        cells = " | ".join(f"{mean:.3f} ± {error:.3f}" for mean, error in found.coverage)
        lines.append(f"| {n} | {way} | {cells} | {found.seconds:.2f} |")
    return lines


def _plain(value: Any) -> Any:
    """Return numbers of five digits that JSON holds, None for what is not finite."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument("--smoke", action="store_true", help="seconds, to see that it runs")
    parser.add_argument("--redraw", action="store_true", help="draw what was measured before")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.smoke and options.output == RESULTS:
        parser.error("--smoke needs an --output of its own: its numbers are no results")
    return options


if __name__ == "__main__":
    main()
