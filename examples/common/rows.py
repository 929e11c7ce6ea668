"""Rows of a table that are kept as they are made, with how they were made."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyro
import sklearn
import torch

from .folders import ROOT

COMMIT = (
    subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    or "unknown"
)
"""Of the code that runs, found before a long run in which somebody may change it."""


class Rows:
    """A JSON file with a line for each setting; what is there is not made again.

    Parameters
    ----------
    path : Path
        The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def find(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the row that was made with these settings, if there is one."""
        return next((row for row in self.rows if row["settings"] == settings), None)

    def add(self, settings: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
        """Write one more row, at once and whole."""
        row = {"settings": dict(settings), **_rounded(results), "made": provenance()}
        self.rows.append(row)
        beside = self.path.with_suffix(".part")
        beside.write_text("[\n" + ",\n".join(map(json.dumps, self.rows)) + "\n]\n")
        os.replace(beside, self.path)
        return row


def provenance() -> dict[str, Any]:
    """Return what a number depends on beside its settings: command, commit, versions, machine."""
    command = " ".join(["python", f"examples/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {
        "command": re.sub(r" --output[ =]\S+", "", command),
        "commit": COMMIT,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "pyro": pyro.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "machine": f"{name}, {torch.get_num_threads()} threads",
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(content) for name, content in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(content) for content in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
