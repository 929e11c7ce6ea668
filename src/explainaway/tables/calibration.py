"""Noise scales by rows that were not learned from."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..models import Columns, Gaussian, GeneratorModel
from .draws import latent_draws
from .storage import Numbers
from .table import Rows
from .table_model import Layout

HIDDEN_SHARE = 0.25
NUM_DRAWS = 100

FACTORS = np.geomspace(0.5, 4.0, 61)
PRIOR_SPREAD = 0.5
"""Of the logarithm of the factor: a few cells do not change a scale much."""


@torch.no_grad()
def calibrate(
    model: GeneratorModel, layout: Layout, rows: Rows, index: NDArray[np.int64], seed: int
) -> float:
    """Widen the noise of normal scores to what the model misses in rows it was not learned from.

    A quarter of the rows' cells are hidden and predicted from the others. The scales of all columns
    are multiplied by the factor under which the hidden scores are most probable, which is returned.

    Parameters
    ----------
    rows : Rows
        The table, of which ``index`` was not learned from.
    """
    out = rows.some(index)
    hidden = _hidden_parts(out, layout, seed)
    y = out.y.masked_fill(hidden, torch.nan)
    latents = latent_draws(model, y, out.context, index, NUM_DRAWS, seed)
    columns = model.observation.base
    assert isinstance(columns, Columns)
    found: list[tuple[Numbers, Numbers, Numbers]] = []
    scaled: list[Gaussian] = []
    outputs = torch.stack([model.network(some) for some in latents])
    for group, kind in zip(columns.groups, columns.kinds, strict=True):
        if not isinstance(kind, Gaussian):
            continue
        asked = hidden[:, group.columns] & ~out.y[:, group.columns].isnan()
        means = outputs[..., group.outputs]
        error = out.y[:, group.columns] - means.mean(0)
        noise = (kind.scale**2).expand_as(error)
        parts = (error[asked] ** 2, means.var(0)[asked], noise[asked])
        found.append(tuple(part.double().numpy() for part in parts))  # type: ignore[arg-type]
        scaled.append(kind)
    if not found:
        return 1.0
    squares, spread, noise_variance = (np.concatenate(part) for part in zip(*found, strict=True))
    variance = spread + FACTORS[:, None] ** 2 * noise_variance
    log_density = -0.5 * (np.log(variance) + squares / variance).sum(1)
    best = float(FACTORS[(log_density - 0.5 * (np.log(FACTORS) / PRIOR_SPREAD) ** 2).argmax()])
    for kind in scaled:
        kind.log_scale += np.log(best)
    return best


def _hidden_parts(rows: Rows, layout: Layout, seed: int) -> torch.Tensor:
    """Return which cells of the model are hidden: all parts of a share of the table's cells."""
    chosen = np.random.default_rng(seed).random(rows.numbers.shape) < HIDDEN_SHARE
    hidden = torch.zeros(rows.y.shape, dtype=torch.bool)
    for column, places in enumerate(layout.places):
        hidden[:, places] = torch.as_tensor(chosen[:, column, None])
    return hidden
