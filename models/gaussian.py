"""Gaussian noise around the signal."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from .gaussian_cells import GaussianCells
from .observation import Context, Observation


class Gaussian(Observation):
    """Independent Gaussian noise, ``y ~ N(inverse_link(output), scale²)`` in each cell.

    Parameters
    ----------
    scale : float or Tensor, default 1
        Standard deviation σ in the units of y; a tensor has to broadcast to one example's data
        (one for each column: shape (columns,); one for each channel: shape (c, 1, 1)).
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise; ``torch.tanh`` for data in
        [-1, 1] (the paper's images), ``torch.sigmoid`` for [0, 1]. By default the identity.
    learn_scale : bool, default False
        Learn σ with the network. A flexible network on few observed cells makes a learned σ
        collapse and overfits; keep it fixed there and tune it on held-out cells.

    Raises
    ------
    ValueError
        If ``scale`` is not positive and finite.

    References
    ----------
    Han et al. (2017), eq. 1: ``Y = f(Z; W) + ε, ε ~ N(0, σ² I)``.
    """

    log_scale: Tensor

    def __init__(
        self,
        scale: float | Tensor = 1.0,
        inverse_link: Callable[[Tensor], Tensor] | None = None,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        value = torch.as_tensor(scale, dtype=torch.get_default_dtype()).detach().clone()
        if not bool(((value > 0) & value.isfinite()).all()):
            raise ValueError(f"scale must be positive and finite, got {scale!r}")
        if inverse_link is not None and not callable(inverse_link):
            raise TypeError(f"inverse_link must be a callable or None, got {inverse_link!r}")
        self.inverse_link = inverse_link
        if learn_scale:
            self.log_scale = nn.Parameter(value.log())
        else:
            self.register_buffer("log_scale", value.log())

    @property
    def scale(self) -> Tensor:
        """Standard deviation of the noise."""
        return self.log_scale.exp()

    def mean(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the signal, which is the mean of y."""
        return output if self.inverse_link is None else self.inverse_link(output)

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent normals around the signal."""
        return GaussianCells(self.mean(output), self.scale, mask)

    def link_range(self) -> tuple[float, float]:
        """Return the limits of the inverse link, by evaluating it far out on both sides."""
        if self.inverse_link is None:
            return super().link_range()
        ends = self.inverse_link(torch.tensor([-1e6, 1e6]))
        return float(ends.min()), float(ends.max())
