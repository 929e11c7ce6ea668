"""Copies of a memory-mapped file that belong to a checkpoint."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from .files import digest_of, temporary_beside


def save_snapshot(file: Path, checkpoint: Path, iteration: int) -> dict[str, str]:
    """Copy a file beside a checkpoint; return the copy's name, with the iteration, and digest.

    The copy is whole before it has its name, and the checkpoint names it afterwards: whenever the
    process dies, the checkpoint that is there goes with a copy that is there.
    """
    target = checkpoint.with_name(f"{checkpoint.name}.chains-{iteration}")
    with temporary_beside(checkpoint) as temporary:
        try:
            shutil.copyfile(file, temporary)
            with temporary.open("rb") as copy:
                os.fsync(copy.fileno())
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: {str(target)!r}, the copy of {str(file)!r}, could not be "
                "written; what was there before is as it was",
            ) from error
        digest = digest_of(temporary)
        temporary.replace(target)
    return {"name": target.name, "digest": digest}


def drop_snapshots(checkpoint: Path, but: str) -> None:
    """Delete a checkpoint's older copies."""
    for name in os.listdir(checkpoint.parent):
        if name.startswith(f"{checkpoint.name}.chains-") and name != but:
            checkpoint.with_name(name).unlink()


def restore_snapshot(checkpoint: Path, snapshot: Mapping[str, str], file: Path) -> None:
    """Put a copy back in the file's place.

    Raises
    ------
    ValueError
        If the copy is gone or damaged.
    """
    source = checkpoint.with_name(snapshot["name"])
    if not source.exists():
        raise ValueError(
            f"checkpoint {str(checkpoint)!r} needs {str(source)!r} beside it, where the chains "
            "are, and that file is gone: delete the checkpoint to start afresh"
        )
    if digest_of(source) != snapshot["digest"]:
        raise ValueError(
            f"{str(source)!r}, where the chains of checkpoint {str(checkpoint)!r} are, is damaged: "
            "it is not what was written; take an older copy of both, or delete the checkpoint to "
            "start afresh"
        )
    # Into the same file, which is mapped: a new one in its place would leave the map on the old.
    shutil.copyfile(source, file)
