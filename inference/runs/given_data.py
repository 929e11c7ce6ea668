"""What a model was given, as what it explains and the rest."""

import torch
from torch import Tensor

from ..potentials.potential import Potential


def split_data(potential: Potential) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what the model was given as what it explains and the rest, under ArviZ's names.

    With one observed site the first argument is what it explains, and bears its name; a mask is
    written into it as NaN. With several, all arguments are.
    """
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
