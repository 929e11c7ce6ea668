"""Files that are whole or not there, with a checksum at their end."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

MARK = b"\nexplainaway blake2b "
"""Before the checksum of all that comes before; readers of zip and HDF5 files pass over it."""

CHECKSUM_BYTES = len(MARK) + 64 + 1
_PIECE = 2**24


class _Digesting:
    """What is written, and its digest; after an error nothing more is written, and it is kept.

    torch's writer of files does not survive an exception in the middle.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.blake2b(digest_size=32)
        self.error: OSError | None = None
        self._file = file

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._file.write(data)
                self.digest.update(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        pass


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file beside its place, add a checksum and move it there: it is never half written.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is as it was.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        through = _Digesting(file)
        write(through)  # type: ignore[arg-type]
        if through.error is not None:
            raise through.error
        _finish(file, through.digest.hexdigest())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty file beside a path that is moved there in the end.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is as it was.
    """
    with temporary_beside(path) as temporary:
        try:
            yield temporary
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror or error}: {str(path)!r} could not be written; what was there "
                "before is as it was",
            ) from error
        temporary.replace(path)


def add_checksum(path: Path) -> None:
    """Add the checksum of all that is in a file."""
    with path.open("r+b") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
        _finish(file, digest.hexdigest())


def _finish(file: BinaryIO, digest: str) -> None:
    file.write(MARK + digest.encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def is_whole(path: Path) -> bool | None:
    """Return whether a file is what was written, None if it has no checksum.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        left = file.seek(0, os.SEEK_END) - CHECKSUM_BYTES
        if left < 0:
            return None
        file.seek(left)
        end = file.read()
        if not end.startswith(MARK):
            return None
        file.seek(0)
        while left > 0:
            piece = file.read(min(left, _PIECE))
            digest.update(piece)
            left -= len(piece)
    return end == MARK + digest.hexdigest().encode() + b"\n"


def digest_of(path: Path) -> str:
    """Return the digest of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield an empty file beside a path, deleted afterwards if it has not been moved.

    Its name says which process it belongs to: what killed ones have left behind is deleted first.
    """
    _delete_left_behind(path)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.{os.getpid()}.", suffix=".part"
    )
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _delete_left_behind(path: Path) -> None:
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.\w{8}\.part")
    for name in os.listdir(path.parent):
        found = pattern.fullmatch(name)
        if found and not is_running(int(found[1])):
            path.with_name(name).unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def make_room(path: Path, num_bytes: int, argument: str, named: Path) -> None:
    """Take a file's blocks from the disk: one that is mapped may not find it full later on.

    Raises
    ------
    OSError
        If there are not as many.
    """
    try:
        take_blocks(path, num_bytes)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}: {argument} {str(named)!r} takes {num_bytes:,} bytes, which "
            "cannot be had there; nothing has been computed yet",
        ) from error


def take_blocks(path: Path, num_bytes: int) -> None:
    """Take a file's blocks from the disk, where the system can.

    Raises
    ------
    OSError
        If there are not as many.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise


def new_file(path: Path, make: Callable[[Path], None], unfinished: bool) -> None:
    """Make a file beside its place and move it there.

    One that is unfinished has a note beside it until :func:`settle` is called: which file it is and
    which process writes it. So a run that was killed before its first checkpoint can start again,
    and nobody else's file is taken for its own.
    """
    with temporary_beside(path) as temporary:
        make(temporary)
        if unfinished:
            _note_of(path).write_text(f"{temporary.stat().st_ino} {os.getpid()}")
        temporary.replace(path)


def settle(path: Path) -> None:
    """Say that a checkpoint knows of a file from now on."""
    _note_of(path).unlink(missing_ok=True)


def delete_unfinished(path: Path) -> bool:
    """Delete a file that a run has made which died before its first checkpoint; return whether.

    Raises
    ------
    ValueError
        If that run is still going on.
    """
    try:
        inode, process = map(int, _note_of(path).read_text().split())
    except (OSError, ValueError):
        return False
    if path.stat().st_ino != inode:
        return False
    if process != os.getpid() and is_running(process):
        raise ValueError(
            f"{str(path)!r} is being written by process {process}: wait for it, or give another "
            "file"
        )
    path.unlink()
    return True


def _note_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.unfinished")
