"""Draws of a table's latents, and what they say of its cells."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inference import HMC, SamplingWarning, sample_posterior
from ..models import GeneratorModel
from ..models.data_cells import cell_log_prob
from .storage import Numbers

NUM_CHAINS = 4
WARMUP_STEPS = 60
LEAPFROGS = 3

NOT_IN_THESE_ROWS = ".*are observed in no example"
"""It was in others that fit has learned from."""

FEW_DRAWS = 20
THINNING_OF_FEW = 4
"""Few draws of a chain are taken further apart, so that they are nearly independent."""


def latent_draws(
    model: GeneratorModel,
    y: Tensor,
    context: dict[str, Tensor] | None,
    ids: NDArray[np.int64],
    num_draws: int,
    seed: int,
) -> Tensor:
    """Return draws of rows' latents given their observed cells, (num_draws, n, d).

    A row's draws do not depend on the others' but on its number, ``ids``. Draws that follow each
    other are of different chains.
    """
    per_chain = -(-num_draws // NUM_CHAINS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        warnings.filterwarnings("ignore", NOT_IN_THESE_ROWS)
        posterior = sample_posterior(
            model,
            y,
            context=context,
            kernel=HMC(num_leapfrog=LEAPFROGS),
            num_chains=NUM_CHAINS,
            warmup_steps=WARMUP_STEPS,
            num_samples=per_chain,
            thinning=1 if per_chain > FEW_DRAWS else THINNING_OF_FEW,
            ids=ids,
            seed=seed,
            progress=False,
        )
    draws: Tensor = posterior.get_samples(group_by_chain=True)["z"]
    return draws.transpose(0, 1).flatten(0, 1)[:num_draws]


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
