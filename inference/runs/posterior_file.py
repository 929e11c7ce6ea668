"""The file of a posterior: NetCDF, then what only this library reads, then a checksum of all.

Readers of NetCDF pass over what lies behind it. It lies there, and not in a group, because a file
of draws gets it when sampling ends: HDF5 rewrites what it has when something is added, and if it
were killed on the way, nothing could be read any more.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..diagnostics.arviz import describe
from ..potentials.data import LARGEST_COPIED
from .checkpoint import FORMAT, checked, load_checkpoint
from .files import CHECKSUM_BYTES, add_checksum, is_whole, replacing, take_blocks
from .netcdf import KINDS, SIGNATURE, Coordinates, Variable, make, mapped, places

KIND = "a posterior"

_REST = b"\nexplainaway bytes of what it needs to go on: "
_REST_BYTES = len(_REST) + 16
_PIECE = 2**26

Values = Tensor | Iterable[Tensor]
"""A tensor, or parts of it in their order."""


class FileLayout(NamedTuple):
    """What is in a file.

    Attributes
    ----------
    variables : dict of Variable
        By ``group/name``, as the file knows them.
    coords : mapping of mapping
        Coordinates by group and dimension.
    paths : dict of dict
        ``group/name`` of each variable, by group and the model's name of it.
    """

    variables: dict[str, Variable]
    coords: Coordinates
    paths: dict[str, dict[str, str]]

    @staticmethod
    def of(
        groups: Mapping[str, Mapping[str, tuple[tuple[int, ...], torch.dtype]]],
        num_examples: int,
        **labels: Any,
    ) -> "FileLayout":
        """Return the layout of variables of these shapes and types by group and name.

        Parameters
        ----------
        groups : mapping of mapping of tuple
            Shape and type of each variable.
        num_examples : int
            Number of examples, n.
        **labels
            ``coords``, ``dims`` and ``example_labels``, as in ``Posterior.to_arviz``.
        """
        shapes = {
            group: {name: shape for name, (shape, _) in found.items()}
            for group, found in groups.items()
        }
        described, coords = describe(shapes, num_examples, **labels)
        variables, paths = {}, {}
        for group, found in groups.items():
            paths[group] = {name: f"{group}/{described[group][name].name}" for name in found}
            for name, (shape, dtype) in found.items():
                dims = described[group][name].dims
                variables[paths[group][name]] = Variable(dims, tuple(shape), dtype)
        return FileLayout(variables, coords, paths)


def write(
    path: Path, layout: FileLayout, values: Iterable[tuple[str, Values]], rest: Mapping[str, Any]
) -> None:
    """Write a file beside its place and move it there, so that it is never half written.

    Parameters
    ----------
    path : Path
        Of the file.
    layout : FileLayout
        What is in it.
    values : iterable of pairs
        ``group/name`` and values, in any order; parts of one variable may come one by one.
    rest : mapping
        Plain tensors and numbers that going on needs beside them.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is as it was.
    """
    with replacing(path) as temporary:
        make(temporary, layout.variables, layout.coords, take_blocks)
        finish(temporary, layout, values, rest)


def finish(
    path: Path, layout: FileLayout, values: Iterable[tuple[str, Values]], rest: Mapping[str, Any]
) -> None:
    """Write what a file still lacks that has been laid out: values, the rest, the checksum."""
    where: dict[str, Any] = places(path, layout.variables)
    with path.open("r+b") as file:
        for name, value in values:
            kind = KINDS[layout.variables[name].dtype]
            for piece in _pieces(value):
                array = piece.detach().cpu().to(_TYPES[kind]).contiguous().numpy()
                file.seek(where[name])
                file.write(array.reshape(-1).view(np.uint8).data)
                where[name] += array.nbytes
        # The rest follows the NetCDF part and anything that a killed run may have left there.
        file.seek(0, os.SEEK_END)
        content = {
            "format": FORMAT,
            "kind": KIND,
            "identity": {},
            "paths": layout.paths,
            "variables": {name: tuple(v) for name, v in layout.variables.items()},
            **rest,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        file.write(buffer.getbuffer())
        file.write(_REST + b"%016d" % buffer.getbuffer().nbytes)
    add_checksum(path)


_TYPES = {np.dtype(kind).type: dtype for dtype, kind in KINDS.items() if dtype != torch.bool}


def _pieces(value: Values) -> Iterable[Tensor]:
    """Yield parts of a tensor, or of its parts, none of them large: a copy of each is made."""
    if not isinstance(value, Tensor):
        for part in value:
            yield from _pieces(part)
    elif value.numel() * value.element_size() <= _PIECE or value.dim() == 0:
        yield value
    elif value.shape[0] == 1:
        yield from _pieces(value[0])
    else:
        size = value.numel() * value.element_size() // value.shape[0]
        for part in value.split(max(1, _PIECE // size)):
            yield from _pieces(part)


def reopen(path: Path, layout: FileLayout) -> dict[str, int]:
    """Return where the variables of a file of draws begin, that is to be written or written again.

    What follows the NetCDF part is taken off it.

    Raises
    ------
    ValueError
        If it was finished and is not what it was then, or is of other work.
    """
    try:
        whole = is_whole(path)
        if whole is False:
            raise ValueError(
                f"draws_file {str(path)!r} is damaged: its checksum is not that of its content. "
                "Give another file, or delete it and the checkpoint to start afresh"
            )
        found = places(path, layout.variables)
    except OSError as error:
        raise ValueError(
            f"draws_file {str(path)!r} is not a NetCDF file, or it is damaged: give another file, "
            "or delete it and the checkpoint to start afresh"
        ) from error
    where = {}
    for name, variable in layout.variables.items():
        place = found[name]
        if isinstance(place, str):
            raise ValueError(
                f"draws_file {str(path)!r} exists and is of other work: its {name} is {place}, "
                f"here it is {variable.shape} {np.dtype(KINDS[variable.dtype])}. Give another "
                "file, or delete this one"
            )
        where[name] = place
    if whole:
        os.truncate(path, _rest_of(path)[0])
    return where


def _rest_of(path: Path) -> tuple[int, int]:
    """Return where in a whole file the rest begins and ends."""
    with path.open("rb") as file:
        end = file.seek(-CHECKSUM_BYTES - _REST_BYTES, os.SEEK_END)
        found = re.fullmatch(re.escape(_REST) + rb"(\d{16})", file.read(_REST_BYTES))
    if found is None:
        raise ValueError(f"checkpoint {str(path)!r} is one of something else, not one of {KIND}")
    return end - int(found[1]), end


def read(
    path: Path, required: tuple[str, ...]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read a file.

    Large files are mapped, not read: what is changed in their tensors does not reach them.

    Parameters
    ----------
    path : Path
        Of the file.
    required : tuple of str
        What the rest must hold.

    Returns
    -------
    dict of dict of Tensor
        The variables by group and the model's name.
    dict
        The rest.

    Raises
    ------
    ValueError
        If it is damaged, unfinished, of another program or another version.
    """
    if not _is_netcdf(path):
        # It says what the file is instead.
        load_checkpoint(path, KIND, {}, ("paths", "variables", *required))
        raise ValueError(f"checkpoint {str(path)!r} is no NetCDF file: give another file")
    whole = is_whole(path)
    if whole is None:
        raise ValueError(
            f"{str(path)!r} is damaged or unfinished, or was written by something else: its "
            "checksum is missing. Draws whose sampling was stopped go on from its checkpoint; "
            "else take an older copy"
        )
    if not whole:
        raise ValueError(
            f"{str(path)!r} is damaged: its checksum is not that of its content; take an older "
            "copy of it"
        )
    begin, end = _rest_of(path)
    with path.open("rb") as file:
        file.seek(begin)
        content = torch.load(io.BytesIO(file.read(end - begin)), "cpu", weights_only=True)
    content = checked(path, content, True, KIND, {}, ("paths", "variables", *required))
    variables = {name: Variable(*value) for name, value in content["variables"].items()}
    where = places(path, variables)
    is_large = begin >= LARGEST_COPIED
    values = {}
    for name, variable in variables.items():
        place = where[name]
        assert isinstance(place, int), place
        value = mapped(path, place, variable, "c")
        # Mapped, types other than the file's would be copies all the same.
        values[name] = value.to(variable.dtype, copy=not is_large)
    groups = {
        group: {name: values[own] for name, own in found.items()}
        for group, found in content["paths"].items()
    }
    return groups, content


def _is_netcdf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False
