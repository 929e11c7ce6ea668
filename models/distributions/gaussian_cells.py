"""Independent normal cells of an example as one event."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor


class GaussianCells(dist.Independent):
    """``N(loc, scale²)`` in each cell of an example, without those that are not observed.

    The same distribution as ``Normal(loc, scale).mask(mask).to_event(...)``. Its log density is a
    weighted sum of squares plus a constant, and neither weight nor constant depends on ``loc``: a
    captured graph evaluates both once.

    Parameters
    ----------
    loc : Tensor, (n, ...)
        Means.
    scale : Tensor
        Standard deviations, broadcast to ``loc``.
    mask : bool Tensor, optional
        Of ``loc``'s shape, true where observed.
    batch_dims : int, default 1
        Leading dimensions of ``loc`` that are not part of the event.
    """

    def __init__(
        self, loc: Tensor, scale: Tensor, mask: Tensor | None = None, batch_dims: int = 1
    ) -> None:
        self.loc = loc
        self.scale = scale
        self._observed = mask
        cells: Any = dist.Normal(loc, scale)
        super().__init__(cells if mask is None else cells.mask(mask), loc.dim() - batch_dims)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "GaussianCells":
        """Return the same distribution with more batch dimensions."""
        shape = torch.Size(batch_shape) + self.event_shape
        mask = None if self._observed is None else self._observed.expand(shape)
        return GaussianCells(self.loc.expand(shape), self.scale, mask, len(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of the observed cells, in nats."""
        weight = -0.5 / self.scale**2
        constant = self.scale.log() + 0.5 * math.log(2 * math.pi)
        event = list(range(-self.reinterpreted_batch_ndims, 0))
        squares = (value - self.loc) ** 2
        seen = None
        if self._observed is not None:
            # A product is many times as fast as a choice, and all of its factors are finite.
            seen = self._observed.to(self.loc.dtype)
            weight = weight * seen
        if event and constant.dim() == 0:
            num_cells = self.event_shape.numel() if seen is None else seen.sum(event)
            return (weight * squares).sum(event) - constant * num_cells
        constants = constant.expand_as(self.loc) if seen is None else constant * seen
        if not event:
            return weight * squares - constants
        total: Tensor = (weight * squares).sum(event) - constants.sum(event)
        return total

    def fisher(self) -> list[tuple[Tensor, Tensor]]:
        """Return the means with the information that a cell has about its own."""
        information = self.scale.expand_as(self.loc) ** -2
        if self._observed is not None:
            information = torch.where(self._observed, information, 0.0)
        return [(self.loc, information)]
