"""NetCDF files whose variables lie in one piece each, so that plain bytes are read and written.

HDF5 lays a file out and is asked where its variables lie; their values it never sees. So a full
disk, which it does not survive, is an error like any other, and a variable can be mapped.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5netcdf
import h5py
import numpy as np
import torch
import xarray
from numpy.typing import NDArray

KINDS: dict[torch.dtype, type[np.generic]] = {
    torch.float16: np.float32,
    torch.bfloat16: np.float32,
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.bool: np.int8,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
    torch.int16: np.int16,
    torch.int32: np.int32,
    torch.int64: np.int64,
}
"""What values are stored as; every one of the first is one of the second."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_OVERHEAD = 2**16
_OF_VARIABLE = 2**12
"""Bytes that names and dimensions take, and some more: of a file, and of each variable."""

Coordinates = Mapping[str, Mapping[str, Sequence[Any]]]


class Variable(NamedTuple):
    """A variable of a file; ``shape`` and ``dtype`` are of the tensor that it holds."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of its values in the file."""
        return math.prod(self.shape) * np.dtype(KINDS[self.dtype]).itemsize


def make(
    path: Path,
    variables: Mapping[str, Variable],
    coords: Coordinates,
    take: Callable[[Path, int], None],
) -> None:
    """Lay a file out, all its blocks taken from the disk; every value is 0.

    Parameters
    ----------
    path : Path
        Of an empty file.
    variables : mapping of Variable
        By ``group/name``.
    coords : mapping of mapping
        Coordinates of the dimensions by group; where there are none, they are 0, 1, ...
    take : callable
        From a path and a number of bytes: takes as many from the disk.
    """
    encoded = {
        group: {dim: _encoded(dim, values) for dim, values in found.items()}
        for group, found in coords.items()
    }
    size = sum(variable.num_bytes + _OF_VARIABLE for variable in variables.values())
    lengths: dict[tuple[str, str], int] = {}
    for name, variable in variables.items():
        group = name.split("/")[0]
        lengths |= {(group, dim): n for dim, n in zip(variable.dims, variable.shape, strict=True)}
    # Text is kept in a heap, with 16 bytes more for each.
    size += sum(n * 8 for n in lengths.values()) + sum(
        sum(len(str(v)) + 32 for v in values.tolist()) if values.dtype == object else values.nbytes
        for found in encoded.values()
        for values, _ in found.values()
    )
    # Before HDF5 writes, which does not survive a full disk, and again when it has laid all out.
    take(path, size + _OVERHEAD)
    with h5netcdf.File(path, "w") as file:
        for name, variable in variables.items():
            group_name, own = name.split("/")
            if group_name not in file.groups:
                file.create_group(group_name)
            _create(file.groups[group_name], own, variable, encoded.get(group_name, {}))
    take(path, path.stat().st_size)


def _create(
    group: Any, name: str, variable: Variable, coords: Mapping[str, tuple[NDArray[Any], Any]]
) -> None:
    for dim, size in zip(variable.dims, variable.shape, strict=True):
        if dim in group.dimensions:
            continue
        group.dimensions[dim] = size
        values, attributes = coords.get(dim, (np.arange(size), {}))
        kind = h5py.string_dtype() if values.dtype == object else values.dtype
        made = group.create_variable(dim, (dim,), kind)
        made[...] = values
        made.attrs.update(attributes)
    made = group.create_variable(name, variable.dims, KINDS[variable.dtype])
    if variable.dtype == torch.bool:
        # As xarray writes it, so that it reads truth values.
        made.attrs["dtype"] = "bool"
    if variable.num_bytes:
        # Writing one value makes HDF5 lay out the whole variable, in one piece.
        made[(0,) * len(variable.shape)] = 0


def _encoded(dim: str, values: Sequence[Any]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return a coordinate as a file can hold it, and the attributes that tell what it is."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"coords[{dim!r}] must hold one value for each place, got {array.shape}")
    # It makes dates of objects that are.
    variable = xarray.Variable((dim,), array)
    if variable.dtype.kind in "USO":
        return np.array([str(value) for value in array.tolist()], dtype=object), {}
    coded = xarray.conventions.encode_cf_variable(variable)
    return np.asarray(coded.data), dict(coded.attrs)


def places(path: Path, variables: Mapping[str, Variable]) -> dict[str, int | str]:
    """Return where a file's variables begin, or what is found where another one was expected.

    Raises
    ------
    OSError
        If it is no NetCDF file.
    """
    found: dict[str, int | str] = {}
    with h5netcdf.File(path, "r") as file:
        for name, variable in variables.items():
            group, own = name.split("/")
            known = file.groups[group].variables if group in file.groups else {}
            there = known.get(own) if own in known else None
            if there is None:
                found[name] = "nothing"
            elif there.shape != variable.shape or there.dtype != KINDS[variable.dtype]:
                found[name] = f"{there.shape} {there.dtype}"
            else:
                found[name] = there._h5ds.id.get_offset() or 0
    return found


def mapped(path: Path, place: int, variable: Variable, mode: str) -> torch.Tensor:
    """Return a variable's values as a tensor that shares the file's bytes."""
    if not variable.num_bytes:
        return torch.zeros(variable.shape, dtype=variable.dtype)
    kind = KINDS[variable.dtype]
    array = np.memmap(path, kind, mode=mode, offset=place, shape=variable.shape)  # type: ignore[call-overload]
    return torch.from_numpy(array)
