"""Draws of what was not observed."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.runtime import effectful
from torch import Tensor


def draw_hidden(made: dist.TorchDistribution, y: Tensor, mask: Tensor | None, name: str) -> Tensor:
    """Return y with its hidden cells drawn from a distribution of it.

    Parameters
    ----------
    made : Distribution
        Of y, (n, ...), with the mask: of independent cells, or with a method ``draw_given(y)`` that
        returns draws of all cells given the observed ones.
    y, mask : Tensor
        As an observation's ``prepare`` gives them.
    name : str
        Of the observation, for messages.

    Raises
    ------
    TypeError
        If the cells depend on each other and nothing says how to draw some given others.
    """
    if mask is None or bool(mask.all()):
        return y
    given = getattr(made, "draw_given", None)
    if given is not None:
        return torch.where(mask, y, given(y))
    cells: Any = made
    while isinstance(cells, torch.distributions.Independent | dist.MaskedDistribution):
        cells = cells.base_dist
    if cells.event_shape:
        raise TypeError(
            f"{name} gives a {type(cells).__name__}, whose cells may depend on each other (event "
            f"shape {tuple(cells.event_shape)}), so hidden ones cannot be drawn given the "
            "observed ones: give the distribution a method draw_given(y), or the observation a "
            "method impute(output, y, mask, context)"
        )
    return torch.where(mask, y, made.sample())


@effectful(type="hidden_cells")
def with_hidden_drawn(y: Tensor, draw: Callable[[], Tensor]) -> Tensor:
    """Return ``draw()``: y as observed, its hidden cells drawn.

    An effect of Pyro's, so that a handler that asks for densities alone, to which hidden cells
    do not matter, can answer with y as it is by a method ``_pyro_hidden_cells``.
    """
    return draw()
