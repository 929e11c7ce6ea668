"""Width and dimension chosen by held-out cells, beside what truly hidden cells say of them."""

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from explainaway.inference import AlternatingBackProp, Fit, LearningWarning, compare_fits
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

from .held_out import Budget, cell_spread, draw, predictive_log_density
from .linear_problems import seeded

ROWS, COLUMNS, TRUE_LATENTS, TRUE_WIDTH, NOISE = 1000, 30, 3, 16, 0.4
SIZES = ((1, 32), (2, 32), (3, 32), (5, 32), (8, 32), (3, 4), (3, 8), (3, 128))
"""Latents and width of each candidate."""
EPOCHS = 100
BUDGET = Budget(warmup=50, draws=40, thinning=2)


def how_wide(smoke: bool) -> dict[str, Any]:
    """Return both scores of every candidate, each with the error of its difference to the best."""
    y, whole = curved_rows()
    fits: dict[str, Fit] = {}
    hidden: dict[str, Tensor] = {}
    seconds: dict[str, float] = {}
    for d, width in SIZES[:2] if smoke else SIZES:
        name = f"d = {d}, width {width}"
        model = seeded(0, partial(_model, d, width))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LearningWarning)
            fits[name] = AlternatingBackProp(model).fit(
                y, epochs=10 if smoke else EPOCHS, seed=0, progress=False
            )
        seconds[name] = fits[name].history["seconds"][-1]
        hidden[name] = _nats_of_hidden(model, fits[name].latents, y, whole, smoke)
    table = compare_fits(fits)
    best = min(hidden, key=lambda name: float(hidden[name].sum()))
    number = y.isnan().sum(1).double()
    found = []
    for name, row in table.iterrows():
        truth, error = _per_cell(hidden[name], number)
        difference, difference_error = _per_cell(hidden[name] - hidden[best], number)
        found.append(
            {
                "candidate": name,
                "held_out": {key: float(value) for key, value in row.items()},
                "hidden": {
                    "nats": truth,
                    "standard_error": error,
                    "difference": difference,
                    "difference_error": difference_error,
                },
                "seconds": seconds[name],
            }
        )
    score = next(iter(fits.values())).held_out
    assert score is not None
    return {
        "candidates": found,
        "held_out_cells": int(score.num_cells.sum()),
        "hidden_cells": int(number.sum()),
    }


def curved_rows() -> tuple[Tensor, Tensor]:
    """Return rows of a curved read-out of three latents, 40 % of the cells NaN, and whole."""
    generator = torch.Generator().manual_seed(20)
    z = torch.randn(ROWS, TRUE_LATENTS, generator=generator)
    into = 1.5 * torch.randn(TRUE_LATENTS, TRUE_WIDTH, generator=generator)
    offset = torch.randn(TRUE_WIDTH, generator=generator)
    out = 1.5 * torch.randn(TRUE_WIDTH, COLUMNS, generator=generator) / TRUE_WIDTH**0.5
    whole = (z @ into + offset).tanh() @ out
    whole = whole + NOISE * torch.randn(whole.shape, generator=generator)
    mask = torch.rand(whole.shape, generator=generator) < 0.4
    return whole.masked_fill(mask, torch.nan), whole


def _model(d: int, width: int) -> GeneratorModel:
    network = mlp(d, COLUMNS, hidden=(width,), activation=nn.Tanh)
    return GeneratorModel(Normal(d, learn=True), network, Masked(Gaussian(1.0, learn_scale=True)))


def _nats_of_hidden(
    model: GeneratorModel, latents: Tensor, y: Tensor, whole: Tensor, smoke: bool
) -> Tensor:
    """Return the negative log predictive density of each row's hidden cells, (n,), summed."""
    drawn = draw(model, y, latents, Budget(2, 2, 1) if smoke else BUDGET)
    with torch.no_grad():
        density = predictive_log_density(
            whole, model.decode(drawn), cell_spread(model.observation, y)
        )
    return torch.where(y.isnan(), -density, 0.0).sum(1).double()


def _per_cell(by_row: Tensor, number: Tensor) -> tuple[float, float]:
    """Return the mean over cells and its standard error over rows."""
    mean = by_row.sum() / number.sum()
    error = (by_row - mean * number).square().sum().sqrt() / number.sum()
    return float(mean), float(error)
