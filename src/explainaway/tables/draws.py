"""What draws of a table's latents say of its cells."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models import GeneratorModel
from ..models.data_cells import cell_log_prob
from .storage import Numbers


@torch.no_grad()
def level_probabilities(
    model: GeneratorModel, latents: Tensor, column: int, number: int
) -> Numbers:
    """Return the probabilities of a model column's levels, (n, levels), over draws of latents."""
    columns: Any = model.observation.base
    group, kind = next(
        (group, kind)
        for group, kind in zip(columns.groups, columns.kinds, strict=True)
        if group.columns.start <= column < group.columns.stop
    )
    place, width = column - group.columns.start, len(group.names)
    total = torch.zeros(latents.shape[1], number)
    for some in latents:
        made = kind.distribution(group.of(model.network(some)))
        for level in range(number):
            densities: Any = cell_log_prob(made, torch.full((len(some), width), float(level)))
            total[:, level] += densities[:, place].exp()
    shares: Numbers = (total / len(latents)).double().numpy()
    return shares


@torch.no_grad()
def cell_densities(
    model: GeneratorModel, latents: Tensor, y: Tensor, context: dict[str, Tensor] | None
) -> Tensor:
    """Return log densities of the model's cells at draws of latents, (draws, n, columns)."""
    filled, observed = model.observation.prepare(y, None)
    found = []
    for some in latents:
        output = model.network(some)
        made = model.observation.distribution(output, mask=observed, context=context)
        density: Any = cell_log_prob(made, filled)
        found.append(density)
    return torch.stack(found)


def log_mean_exp(values: Numbers) -> Numbers:
    """Return the log of the mean over the first axis of exponentials."""
    most = values.max(0)
    found: Numbers = most + np.log(np.exp(values - most).mean(0))
    return found
