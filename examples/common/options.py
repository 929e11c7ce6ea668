"""Options that the experiments share."""

import argparse
from pathlib import Path

from .folders import DATA, ROOT


def experiment_parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """Return a parser of what every experiment has; ``--rows`` and what else it has are its own."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add("--smoke", action="store_true", help="seconds, on made-up data")
    add("--paper", action="store_true", help="the paper's settings")
    add("--seed", type=int, default=0)
    add("--data", type=Path, default=DATA)
    add("--output", type=Path, default=ROOT / "demo" / name)
    return parser
