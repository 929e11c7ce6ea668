"""Checkpoints: plain dicts of tensors and numbers, written atomically, with a checksum."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..arguments import checked_seed
from .files import delete_unfinished, is_whole, write_whole

FORMAT = 6
"""Of what checkpoints hold; a file of another is refused, there is no conversion."""


def check_folder(path: str | os.PathLike[str], argument: str) -> Path:
    """Return the path, or raise FileNotFoundError if its folder does not exist."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{argument} must lie in a folder that exists, got {str(path)!r}: "
            f"there is no folder {str(path.parent)!r}"
        )
    return path


def check_new_file(path: str | os.PathLike[str], argument: str, resumes: bool) -> Path:
    """Return the path of a file to be made, or raise if it is there already and nothing resumes.

    What a run has left there that was killed before its first checkpoint is deleted.

    Raises
    ------
    FileNotFoundError
        If its folder does not exist.
    ValueError
        If the file exists.
    """
    path = check_folder(path, argument)
    if path.exists() and not resumes and not delete_unfinished(path):
        raise ValueError(
            f"{argument} {str(path)!r} exists already: give another file, or delete it"
        )
    return path


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint beside its place and move it there, so that none is ever half written.

    Raises
    ------
    OSError
        If it cannot be written; the one before is as it was.
    """
    write_whole(path, lambda file: torch.save({"format": FORMAT, **content}, file))


def load_checkpoint(
    path: Path, kind: str, identity: Mapping[str, Any], required: tuple[str, ...]
) -> dict[str, Any]:
    """Read a checkpoint and make sure that it belongs to this work.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        What it must be a checkpoint of.
    identity : mapping
        What it must have been made with: every entry is compared.
    required : tuple of str
        Entries that it must have.

    Raises
    ------
    ValueError
        If the file is damaged, truncated, of another kind or of other work, or lacks an entry.
    """
    content, has_checksum = _read(path)
    return checked(path, content, has_checksum, kind, identity, required)


def checked(
    path: Path,
    content: Any,
    has_checksum: bool,
    kind: str,
    identity: Mapping[str, Any],
    required: tuple[str, ...],
) -> dict[str, Any]:
    """Return what a file holds that has been read.

    Raises
    ------
    ValueError
        As :func:`load_checkpoint`.
    """
    if not isinstance(content, dict) or not {"format", "kind"} <= content.keys():
        raise ValueError(
            f"{str(path)!r} is not a checkpoint of explainaway, it holds "
            f"{type(content).__name__}: give another file"
        )
    if content["format"] != FORMAT:
        raise ValueError(
            f"checkpoint {str(path)!r} has format {content['format']}, this version of "
            f"explainaway reads format {FORMAT}: go on with the version that wrote it, or delete "
            "it to start afresh"
        )
    if content.get("kind") != kind:
        raise ValueError(
            f"checkpoint {str(path)!r} is one of {content['kind']}, not one of {kind}: give "
            "another file"
        )
    lacking = [name for name in ("identity", *required) if name not in content]
    if lacking:
        raise ValueError(f"checkpoint {str(path)!r} lacks {lacking}: it cannot be resumed")
    if not has_checksum:
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged or was written by something else: its checksum "
            "is missing; take an older copy of it, or delete it to start afresh"
        )
    for name, expected in identity.items():
        if content["identity"].get(name) != expected:
            raise ValueError(
                f"checkpoint {str(path)!r} is of other work: its {name} is "
                f"{content['identity'].get(name)}, here it is {expected}. Give another file, or "
                "delete this one to start afresh"
            )
    return dict(content)


def _read(path: Path) -> tuple[Any, bool]:
    """Return what a file holds, and whether a checksum vouches for it.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    try:
        whole, content = is_whole(path), None
        if whole is not False:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = torch.load(path, "cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {str(path)!r}") from error
    except OSError as error:
        raise ValueError(f"checkpoint {str(path)!r} cannot be read: {error}") from error
    # What torch raises at a file of another program is of any kind.
    except Exception as error:
        raise ValueError(
            f"checkpoint {str(path)!r} cannot be read, it is truncated or not a checkpoint "
            f"({type(error).__name__}): delete it to start afresh"
        ) from error
    if whole is False:
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged: its checksum is not that of its content; take "
            "an older copy of it, or delete it to start afresh"
        )
    return content, whole is not None


def moved(content: Any, device: torch.device) -> Any:
    """Return what a file held with its tensors on a device."""
    if isinstance(content, torch.Tensor):
        return content.to(device)
    if isinstance(content, dict):
        return {key: moved(item, device) for key, item in content.items()}
    if isinstance(content, list):
        return [moved(item, device) for item in content]
    return content


def seed_of(seed: Any, path: Path | None) -> int:
    """Return a seed as an integer: for None that of the checkpoint, or else one by chance."""
    if seed is None and path is not None and path.exists():
        seed = _read(path)[0].get("identity", {}).get("seed")
    return checked_seed(seed)


def fingerprint(tensors: list[Tensor]) -> str:
    """Return a digest of tensors' shapes, types and values."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(flat.numpy().tobytes())
    return digest.hexdigest()
