"""What a model was given, as what it explains and the rest."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..potentials.keywords import positional_names
from ..potentials.masks import with_hidden
from ..potentials.potential import Potential
from ..potentials.trace import is_deterministic, recorded


def split_data(potential: Potential) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what the model was given as what it explains and the rest, under the model's names.

    What it explains bears the names of the observed sites: it is the argument that a site observes,
    a mask written into it as NaN, or what the site observes where that is no argument. The rest
    bears the names of the arguments, and the keys of a context. Of a model that is one example as
    a whole, all have the example's dimension.
    """
    sites = [
        site
        for site in recorded(potential.model, potential.data)
        # A factor has no value.
        if site["is_observed"] and not is_deterministic(site) and site["value"].numel()
    ]
    given = _given(potential)
    mask = given.get("mask")
    masked = {name: _hidden(value, mask) for name, value in given.items() if name != "mask"}
    observed, used = {}, set()
    for site in sites:
        name = site["name"]
        found = _explained(name, site["value"].detach(), masked)
        observed[name] = with_hidden(site, None if found is None else masked[found])
        if found is not None:
            used.add(found)
            if masked[found] is not given[found]:
                used.add("mask")
    rest = {name: value for name, value in given.items() if name not in used}
    if potential.layout.is_joint:
        observed, rest = (
            {name: value[None] for name, value in group.items()} for group in (observed, rest)
        )
    return observed, rest


def _given(potential: Potential) -> dict[str, Tensor]:
    """Return every tensor by the name of its argument, or its key in the context."""
    data = potential.data
    arguments = dict(zip(positional_names(potential.model, len(data.args)), data.args, strict=True))
    found: dict[str, Tensor] = {}
    for name, value in {**arguments, **data.kwargs}.items():
        inside = dict(value) if name == "context" and isinstance(value, Mapping) else {name: value}
        for key, item in inside.items():
            for path, tensor in _tensors(str(key), item):
                found[path if path not in found else f"{name}_{path}"] = tensor
    return found


def _tensors(path: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(f"{path}_{key}", item)
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            yield from _tensors(f"{path}_{i}", item)


def _hidden(value: Tensor, mask: Tensor | None) -> Tensor:
    """Return data with NaN where a mask of their shape hides them."""
    if mask is None or mask.shape != value.shape or mask.dtype != torch.bool:
        return value
    return torch.where(mask, value, torch.nan)


def _explained(site: str, value: Tensor, arguments: Mapping[str, Tensor]) -> str | None:
    """Return which argument a site's value is, wherever that is known, None if there is none."""
    fitting = []
    for name, argument in arguments.items():
        if argument.shape != value.shape:
            continue
        hidden = argument.isnan()
        is_same = bool(((argument == value) | hidden).all())
        if is_same and (name == site or not bool(hidden.all())):
            # Where two arguments hold the same numbers.
            fitting.append((argument.data_ptr() != value.data_ptr(), name != site, name))
    return min(fitting)[2] if fitting else None
