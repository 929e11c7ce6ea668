"""Where draws are kept: in memory, or in a NetCDF file that is mapped into memory."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5netcdf
import numpy as np
import torch
from torch import Tensor

from ..potentials.angles import wrapped
from ..potentials.potential import Potential
from .checkpoint import check_new_file
from .chunk_run import STATS
from .files import make_room, new_file

_DTYPES = {torch.float32: np.float32, torch.float64: np.float64, torch.uint8: np.uint8}


_OVERHEAD = 2**16
"""Bytes that the names and dimensions of a NetCDF file take, and some more."""


_ROWS_AT_ONCE = 1024
"""Draws of a whole model that are constrained at once."""


class DrawStore(NamedTuple):
    """Tensors that draws are written into.

    Attributes
    ----------
    position : Tensor, (chains, draws, n, d)
        Flat unconstrained draws.
    samples : dict of Tensor
        Constrained draws by site, (chains, draws, n, ...).
    samples_are_views : bool
        Whether ``samples`` show ``position``; else they have to be filled from it.
    stats : dict of Tensor
        Statistics of the draws, (chains, draws, n); ``diverging`` is 0 or 1.
    path : Path or None
        The file that they lie in.
    """

    position: Tensor
    samples: dict[str, Tensor]
    samples_are_views: bool
    stats: dict[str, Tensor]
    path: Path | None

    def buffers(self, examples: slice) -> dict[str, Tensor]:
        """Return what a run over some of the examples fills."""
        return {
            "position": self.position[:, :, examples],
            **{name: value[:, :, examples] for name, value in self.stats.items()},
        }

    def first(self, count: int) -> "DrawStore":
        """Return the first draws alone, as copies, so that the room for the others is free."""
        return DrawStore(
            self.position[:, :count].clone(),
            {name: value[:, :count].clone() for name, value in self.samples.items()},
            self.samples_are_views,
            {name: value[:, :count].clone() for name, value in self.stats.items()},
            self.path,
        )


def free_file(draws_file: str | os.PathLike[str] | None, checkpoint: Path | None) -> Path | None:
    """Return where draws shall lie, or raise ValueError if something lies there already.

    With a checkpoint to go on from, they do.
    """
    if draws_file is None:
        return None
    resumes = checkpoint is not None and checkpoint.exists()
    return check_new_file(draws_file, "draws_file", resumes)


def allocate(
    potential: Potential,
    latents: Mapping[str, Tensor],
    num_chains: int,
    num_draws: int,
    path: Path | None,
    unfinished: bool = False,
) -> DrawStore:
    """Make room for draws.

    Parameters
    ----------
    potential : Potential
        Of n examples.
    latents : mapping of Tensor
        Constrained latents of any example by site, (1, ...): their shapes and types.
    num_chains, num_draws : int
        How many.
    path : Path, optional
        A NetCDF file to keep them in, made anew unless it has just these variables already. ArviZ
        and xarray open it; while it is being filled, what has not been drawn yet is 0.
    unfinished : bool, default False
        Whether a checkpoint will tell of a new file, which is worth nothing before.

    Raises
    ------
    ValueError
        If the file exists and holds something else.
    OSError
        If there is no room for it.
    """
    n, d = potential.num_examples, potential.latent_dim
    shape = (num_chains, num_draws, n)
    dtype = next(iter(latents.values())).dtype
    sites = potential.layout.sites
    in_place = len(sites) == 1 and sites[0].is_real
    variables = {
        f"posterior/{name}": ((*shape, *value.shape[1:]), dtype) for name, value in latents.items()
    }
    if not in_place:
        variables["unconstrained_posterior/position"] = ((*shape, d), dtype)
    for name in STATS:
        kind = torch.uint8 if name == "diverging" else dtype
        variables[f"sample_stats/{name}"] = (shape, kind)
    views = in_place or (path is None and all(site.is_real for site in sites))
    if path is None:
        held = {
            name: torch.empty(size, dtype=kind, device=next(iter(latents.values())).device)
            for name, (size, kind) in variables.items()
            if in_place or not (views and name.startswith("posterior/"))
        }
    else:
        held = _map(path, variables, unfinished)
    name = f"posterior/{sites[0].name}" if in_place else "unconstrained_posterior/position"
    position = held[name].reshape(*shape, d)
    samples = {
        site.name: (
            position[..., site.start : site.stop].reshape(*shape, *site.shape)
            if views
            else held[f"posterior/{site.name}"]
        )
        for site in sites
    }
    stats = {name: held[f"sample_stats/{name}"] for name in STATS}
    return DrawStore(position, samples, views, stats, path)


def fill_samples(store: DrawStore, potential: Potential, chunks: Sequence[slice]) -> None:
    """Compute the constrained draws from the flat ones, as many examples at once as in sampling."""
    chains, draws, n, d = store.position.shape
    index = torch.arange(n, device=store.position.device)
    # Chains that have all data in common need no copies of them.
    at_once = max(1, _ROWS_AT_ONCE // chains) if potential.layout.is_joint else 1
    for chunk in chunks:
        for first in range(0, draws, at_once):
            block = slice(first, first + at_once)
            flat = store.position[:, block, chunk].reshape(-1, d)
            copies = potential.rows(index[chunk]).repeated(len(flat) // len(index[chunk]))
            for name, value in copies.unflatten(flat).items():
                place = store.samples[name][:, block, chunk]
                place.copy_(value.reshape(place.shape))
    for site in potential.layout.sites:
        if site.is_angle:
            columns = store.position[..., site.start : site.stop]
            columns.copy_(wrapped(columns))


def _map(
    path: Path, variables: Mapping[str, tuple[tuple[int, ...], torch.dtype]], unfinished: bool
) -> dict[str, Tensor]:
    """Return the variables of a NetCDF file as tensors that share its bytes."""
    if not path.exists():
        new_file(path, lambda new: _make(new, path, variables), unfinished)
    places = {}
    try:
        opened = h5netcdf.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"draws_file {str(path)!r} is not a NetCDF file, or it is damaged: give another file, "
            "or delete it and the checkpoint to start afresh"
        ) from error
    with opened as file:
        for name, (shape, dtype) in variables.items():
            variable = _find(file, name)
            kind = _DTYPES[dtype]
            if variable is None or variable.shape != shape or variable.dtype != kind:
                found = "nothing" if variable is None else f"{variable.shape} {variable.dtype}"
                raise ValueError(
                    f"draws_file {str(path)!r} exists and is of other work: its {name} is {found}, "
                    f"here it is {shape} {np.dtype(kind)}. Give another file, or delete this one"
                )
            places[name] = variable._h5ds.id.get_offset()
    return {
        name: torch.from_numpy(
            np.memmap(path, _DTYPES[dtype], mode="r+", offset=places[name], shape=shape)
        )
        for name, (shape, dtype) in variables.items()
    }


def _make(
    new: Path, path: Path, variables: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
) -> None:
    """Make a file that will lie at a path, all its blocks taken from the disk."""
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in variables.values())
    # Before HDF5 writes, which does not survive a full disk, and again when it has laid all out.
    make_room(new, size + _OVERHEAD, "draws_file", path)
    with h5netcdf.File(new, "w") as file:
        for name, (shape, dtype) in variables.items():
            _create(file, name, shape, dtype)
    make_room(new, new.stat().st_size, "draws_file", path)


def _find(file: h5netcdf.File, name: str) -> h5netcdf.Variable | None:
    group, variable = name.split("/")
    if group not in file.groups or variable not in file.groups[group].variables:
        return None
    return file.groups[group].variables[variable]


def _create(file: h5netcdf.File, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    group_name, variable_name = name.split("/")
    group = file.groups[group_name] if group_name in file.groups else file.create_group(group_name)
    dims = ["chain", "draw", "example"]
    dims += [f"{variable_name}_dim_{i}" for i in range(len(shape) - 3)]
    for dim, size in zip(dims, shape, strict=True):
        if dim not in group.dimensions:
            group.dimensions[dim] = size
            group.create_variable(dim, (dim,), np.int64)[...] = np.arange(size)
    variable = group.create_variable(variable_name, tuple(dims), _DTYPES[dtype])
    # Writing one value makes HDF5 lay out the whole variable, in one piece.
    variable[(0,) * len(shape)] = 0
