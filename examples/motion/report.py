"""Tables and filmstrips of what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explainaway.plots import save_panels, tile

from .data import MOTIONS, TASKS


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table for each task: a line for each method, a column for each motion.

    A row may be a mean over ``seeds``.
    """
    parts = []
    for task in TASKS:
        found = {row["settings"]["motion"]: row for row in rows if row["settings"]["task"] == task}
        motions = [name for name in MOTIONS if name in found] or list(found)
        if not motions:
            continue
        numbers = next(iter(found[motions[0]]["methods"].values()))
        for number in (name for name in numbers if not name.startswith("mae")):
            seeds = ", ".join(f"{motion} {found[motion].get('seeds', 1)}" for motion in motions)
            parts.append(f"**{task}, {number}** (seeds: {seeds})\n")
            parts.append("| | " + " | ".join(motions) + " |")
            parts.append("|---" * (len(motions) + 1) + "|")
            best = {
                motion: min(method[number] for method in found[motion]["methods"].values())
                for motion in motions
            }
            for name in dict.fromkeys(n for m in motions for n in found[m]["methods"]):
                cells = [
                    _cell(found[motion]["methods"].get(name, {}), number, best[motion])
                    for motion in motions
                ]
                parts.append(f"| {name} | " + " | ".join(cells) + " |")
            parts.append("")
    return "\n".join([*parts, *_new_videos(rows)])


def _new_videos(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table of new videos: contrast, speed, sharpness over the true ones."""
    found = {
        motion: {
            name: sizes
            for row in rows
            if row["settings"]["motion"] == motion
            for name, sizes in row.get("synthesis", {}).items()
        }
        for motion in dict.fromkeys(row["settings"]["motion"] for row in rows)
    }
    motions = [motion for motion, new in found.items() if new]
    if not motions:
        return []
    lines = ["**new videos: contrast, speed, sharpness, over those of the true one**\n"]
    lines += ["| | " + " | ".join(motions) + " |", "|---" * (len(motions) + 1) + "|"]
    for name in dict.fromkeys(name for motion in motions for name in found[motion]):
        cells = [
            ", ".join(f"{size:.2f}" for size in found[motion].get(name, {}).values())
            for motion in motions
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _cell(method: Mapping[str, float], number: str, best: float) -> str:
    if number not in method:
        return ""
    mark = "**" if method[number] == best else ""
    mae = method.get(number.replace("rmse", "mae"))
    beside = "" if mae is None else f" ({mae:.4f})"
    return f"{mark}{method[number]:.4f}{mark}{beside}"


def filmstrips(path: Path, strips: Mapping[str, Tensor]) -> Path:
    """Write a row of frames (k, 3, h, w) for each name; NaN is a hole."""
    panels = {
        name: tile((frames.permute(0, 2, 3, 1).numpy() + 1) / 2, len(frames), pad=2)
        for name, frames in strips.items()
    }
    return save_panels(path, panels)


def holes(video: Tensor, seen: Tensor) -> Tensor:
    """Return a video with NaN where it was not seen."""
    return torch.where(seen, video, torch.nan)
