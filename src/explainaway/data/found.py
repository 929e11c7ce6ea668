"""Where data are, and what is said when they are not there."""

from pathlib import Path


class MissingDataError(FileNotFoundError):
    """There are no data where they were looked for; the message says what to put there."""


def found(source: str | Path, file: str | None, expected: str) -> Path:
    """Return a file of the source, where it is a folder that has it, else the source."""
    path = Path(source)
    if file is not None and (path / file).exists():
        return path / file
    if not path.exists():
        raise MissingDataError(f"{path} is not there: expected {or_file(expected, file)}")
    return path


def check_count(name: str, number: int | None) -> None:
    """Raise ValueError if a number is given that is less than 1."""
    if number is not None and number < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {number!r}")


def or_file(expected: str, file: str | None) -> str:
    """Return what is expected in words, with the file that a folder may have instead."""
    return expected if file is None else f"a folder with {file}, or {expected}"
