"""Refuse to build from a checkout whose symbolic links were not created."""

from pathlib import Path

from setuptools import setup

package = Path(__file__).parent / "src" / "explainaway"
for name in ("models", "inference"):
    if not (package / name / "__init__.py").is_file():
        raise SystemExit(
            f"src/explainaway/{name} must be a symbolic link to {name}/, but this checkout holds "
            "a plain file: the build would silently leave that package out. Switch links on and "
            "check out again:\n    git config core.symlinks true && git checkout -- src/explainaway"
        )

setup()
