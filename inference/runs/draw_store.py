"""Where draws are kept: in memory, or in a NetCDF file that is mapped into memory."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..potentials.angles import wrapped
from ..potentials.potential import Potential
from .checkpoint import check_new_file
from .chunk_run import STATS
from .files import make_room, new_file
from .given_data import split_data
from .netcdf import make, mapped
from .posterior_file import FileLayout, reopen

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
        Statistics of the draws, (chains, draws, n).
    path : Path or None
        The file that they lie in.
    layout : FileLayout or None
        What is in it.
    """

    position: Tensor
    samples: dict[str, Tensor]
    samples_are_views: bool
    stats: dict[str, Tensor]
    path: Path | None
    layout: FileLayout | None = None

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
    groups = {
        "posterior": {name: ((*shape, *value.shape[1:]), dtype) for name, value in latents.items()},
        "unconstrained_posterior": {} if in_place else {"position": ((*shape, d), dtype)},
        "sample_stats": {
            name: (shape, torch.bool if name == "diverging" else dtype) for name in STATS
        },
    }
    views = in_place or (path is None and all(site.is_real for site in sites))
    layout = None
    if path is None:
        device = next(iter(latents.values())).device
        held = {
            (group, name): torch.empty(size, dtype=kind, device=device)
            for group, variables in groups.items()
            for name, (size, kind) in variables.items()
            if in_place or not (views and group == "posterior")
        }
    else:
        layout = FileLayout.of({**groups, **_beside_draws(potential, dtype, groups)}, n)
        tensors = _map(path, layout, unfinished)
        held = {
            (group, name): tensors[layout.paths[group][name]]
            for group, variables in groups.items()
            for name in variables
        }
    of_position = (
        ("posterior", sites[0].name) if in_place else ("unconstrained_posterior", "position")
    )
    position = held[of_position].reshape(*shape, d)
    samples = {
        site.name: (
            position[..., site.start : site.stop].reshape(*shape, *site.shape)
            if views
            else held["posterior", site.name]
        )
        for site in sites
    }
    stats = {name: held["sample_stats", name] for name in STATS}
    return DrawStore(position, samples, views, stats, path, layout)


def _beside_draws(
    potential: Potential, dtype: torch.dtype, groups: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return what a file holds beside what sampling writes into it, and the statistics again."""
    observed, constant = split_data(potential)
    shape, _ = groups["sample_stats"]["lp"]
    more = {"energy": (shape, dtype), "step_size": (shape[2:], dtype)}
    return {
        "sample_stats": {**groups["sample_stats"], **more},
        "observed_data": {name: (tuple(v.shape), v.dtype) for name, v in observed.items()},
        "constant_data": {name: (tuple(v.shape), v.dtype) for name, v in constant.items()},
    }


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


def _map(path: Path, layout: FileLayout, unfinished: bool) -> dict[str, Tensor]:
    """Return the variables of a NetCDF file as tensors that share its bytes."""
    if not path.exists():

        def take(new: Path, num_bytes: int) -> None:
            make_room(new, num_bytes, "draws_file", path)

        new_file(path, lambda new: make(new, layout.variables, layout.coords, take), unfinished)
    return {
        name: mapped(path, place, layout.variables[name], "r+")
        for name, place in reopen(path, layout).items()
    }
