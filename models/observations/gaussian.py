"""Gaussian noise around the signal."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor

from ..batch_weight import batch_weight
from ..distributions.gaussian_cells import GaussianCells
from ..pieces import Entry
from .base import Context
from .location_scale import LocationScale
from .noise_settings import Learning, check_learning


class Gaussian(LocationScale):
    """Independent Gaussian noise, ``y ~ N(inverse_link(output), scale²)`` in each cell.

    Parameters
    ----------
    scale : float or Tensor, default 1
        Standard deviation σ in the units of y; a tensor has to broadcast to one example's data
        (one for each column: shape (columns,); one for each channel: shape (c, 1, 1)).
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise; ``torch.tanh`` for data in
        [-1, 1] (the paper's images), ``torch.sigmoid`` for [0, 1]. By default the identity.
    learn_scale : bool or "closed form", default False
        Learn σ with the network: by its gradient, or in closed form as the root of the running mean
        of squared residuals over batches, "averaging the diagonal elements". A flexible network on
        few observed cells makes a learned σ collapse and overfits; keep it fixed there and tune it
        on held-out cells.

    Raises
    ------
    ValueError
        If ``scale`` is not positive and finite, or ``learn_scale`` is none of the three.

    References
    ----------
    Han et al. (2017), eq. 1: ``Y = f(Z; W) + ε, ε ~ N(0, σ² I)``; section 2.2 for the closed form.
    """

    entry = Entry(
        "y ~ N(inverse_link(output), scale²)", "Han et al. (2017), eq. 1", "Gaussian(0.3)"
    )

    num_batches: Tensor

    def __init__(
        self,
        scale: float | Tensor = 1.0,
        inverse_link: Callable[[Tensor], Tensor] | None = None,
        learn_scale: Learning = False,
    ) -> None:
        super().__init__(scale, inverse_link, learn_scale is True)
        check_learning("learn_scale", learn_scale)
        self._in_closed_form = learn_scale == "closed form"
        if self._in_closed_form:
            self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    @property
    def has_closed_form(self) -> bool:
        """Whether the scale is learned in closed form."""
        return self._in_closed_form

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the signal, which is the mean of y."""
        return self.signal(output, context)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent normals around a signal."""
        return GaussianCells(signal, self.scale, mask)

    @torch.no_grad()
    def learn_from_residuals(
        self, residual: Tensor, mask: Tensor | None = None, context: Context | None = None
    ) -> None:
        """Move the variance towards the mean square of residuals (n, ...) of observed cells."""
        if not self._in_closed_form:
            return
        observed = torch.ones_like(residual) if mask is None else mask.to(residual.dtype)
        shape = (1,) * (residual.dim() - self.log_scale.dim()) + self.log_scale.shape
        squares = (observed * residual**2).sum_to_size(shape)
        counts = observed.sum_to_size(shape)
        squares, counts = (s.reshape(self.log_scale.shape) for s in (squares, counts))
        self.num_batches += 1
        weight = batch_weight(self.num_batches).to(squares)
        moved = torch.lerp(self.scale**2, squares / counts.clamp(min=1), weight)
        self.log_scale.copy_(torch.where(counts > 0, 0.5 * moved.log(), self.log_scale))
