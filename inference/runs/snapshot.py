"""Copies of a memory-mapped file that belong to a checkpoint."""

import os
import shutil
from pathlib import Path


def save_snapshot(file: Path, checkpoint: Path, iteration: int) -> str:
    """Copy a file beside a checkpoint and return the copy's name, which says the iteration.

    The copy is whole before it has its name, and the checkpoint names it afterwards: whenever the
    process dies, the checkpoint that is there goes with a copy that is there.
    """
    target = checkpoint.with_name(f"{checkpoint.name}.chains-{iteration}")
    temporary = target.with_name(f".{target.name}.part")
    shutil.copyfile(file, temporary)
    os.replace(temporary, target)
    return target.name


def drop_snapshots(checkpoint: Path, but: str) -> None:
    """Delete a checkpoint's older copies."""
    for file in checkpoint.parent.glob(f"{checkpoint.name}.chains-*"):
        if file.name != but:
            file.unlink()


def restore_snapshot(checkpoint: Path, name: str, file: Path) -> None:
    """Put a copy back in the file's place.

    Raises
    ------
    ValueError
        If the copy is gone.
    """
    source = checkpoint.with_name(name)
    if not source.exists():
        raise ValueError(
            f"checkpoint {str(checkpoint)!r} needs {str(source)!r} beside it, where the chains "
            "are, and that file is gone: delete the checkpoint to start afresh"
        )
    # Into the same file, which is mapped: a new one in its place would leave the map on the old.
    shutil.copyfile(source, file)
