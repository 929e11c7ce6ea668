"""What a model was given, as what it explains and the rest."""

import torch
from torch import Tensor

from ..potentials.masks import with_hidden
from ..potentials.potential import Potential
from ..potentials.trace import recorded


def split_data(potential: Potential) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what the model was given as what it explains and the rest, under ArviZ's names.

    With one observed site the first argument is what it explains, and bears its name; a mask is
    written into it as NaN. With several, all arguments are. Of a model that is one example as a
    whole it is what its sites observe, under their names, with the example's dimension.
    """
    if potential.layout.is_joint:
        return _split_shared(potential)
    data, sites = potential.data, potential.layout.observed
    first = sites[0] if len(sites) == 1 else "data_0"
    named = {f"data_{i}" if i else first: v for i, v in enumerate(data.args) if torch.is_tensor(v)}
    others = dict(data.kwargs)
    mask = others.pop("mask", None)
    if mask is not None and first in named:
        named[first] = torch.where(mask, named[first], torch.nan)
    context = others.pop("context", None) or {}
    rest = {name: v for name, v in {**others, **context}.items() if torch.is_tensor(v)}
    if len(sites) == 1:
        rest |= {name: value for name, value in named.items() if name != first}
        named = {name: value for name, value in named.items() if name == first}
    return named, rest


def _split_shared(potential: Potential) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    data = potential.data
    observed = {
        site["name"]: with_hidden(site)
        for site in recorded(potential.model, data)
        # A factor has no value.
        if site["is_observed"] and site["value"].numel()
    }
    context = data.kwargs.get("context") or {}
    given = {f"data_{i}": v for i, v in enumerate(data.args)} | {**data.kwargs, **context}
    explained = {value.data_ptr() for value in observed.values()}
    constant = {
        name: value
        for name, value in given.items()
        if torch.is_tensor(value) and value.data_ptr() not in explained
    }
    return (
        {name: value[None] for name, value in observed.items()},
        {name: value[None] for name, value in constant.items()},
    )
