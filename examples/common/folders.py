"""Where things are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

DATA = ROOT.parent / "shared" / "data"
"""Where the data are looked for."""
