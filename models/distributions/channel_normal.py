"""A normal distribution of a vector, or of the channels of each cell of a map."""

import copy
import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class ChannelNormal(dist.TorchDistribution):
    """``N(loc, L Lᵀ)`` of the channels of each cell; cells are independent and alike.

    Parameters
    ----------
    loc : Tensor, (c,)
        Means of the channels.
    scale_tril : Tensor, (c, c)
        L, lower triangular with a positive diagonal.
    cells : tuple of int, default ()
        Shape of the map behind the channels; a vector has none.
    batch_shape : torch.Size, default ()
        Independent examples.
    """

    arg_constraints = {  # noqa: RUF012 - torch reads it from the class
        "loc": constraints.independent(constraints.real, 1),
        "scale_tril": constraints.lower_cholesky,
    }
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        scale_tril: Tensor,
        cells: tuple[int, ...] = (),
        batch_shape: torch.Size | None = None,
    ) -> None:
        self.loc = loc
        self.scale_tril = scale_tril
        self._cells = torch.Size(cells)
        identity = torch.eye(len(loc), dtype=loc.dtype, device=loc.device)
        self._whiten: Tensor = torch.linalg.solve_triangular(scale_tril, identity, upper=False)
        super().__init__(batch_shape or torch.Size(), torch.Size((len(loc), *cells)))

    @property
    def support(self) -> Any:
        """Real numbers in each cell."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ChannelNormal":
        """Return the same distribution with more batch dimensions."""
        other = copy.copy(self)
        other._batch_shape = torch.Size(batch_shape)
        return other

    @property
    def mean(self) -> Tensor:
        """The same for every cell."""
        return self._of_cells(self.loc)

    @property
    def variance(self) -> Tensor:
        """The same for every cell."""
        return self._of_cells((self.scale_tril**2).sum(1))

    def _of_cells(self, channels: Tensor) -> Tensor:
        shaped = channels.reshape(-1, *[1] * len(self._cells))
        return shaped.expand(self._extended_shape())

    def log_volume(self) -> Tensor:
        """Return ``log |det|`` of the map from white noise to an example, of all cells."""
        return self._cells.numel() * self.scale_tril.diagonal().log().sum()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of examples (..., c, *cells), in nats."""
        if self._validate_args:
            self._validate_sample(value)
        # Under autocast the network computes in lower precision; energies do not.
        with torch.autocast(value.device.type, enabled=False):
            white = (self._by_cell(value) - self.loc) @ self._whiten.mT
        constant = self.log_volume() + 0.5 * math.log(2 * math.pi) * self.event_shape.numel()
        density: Tensor = -0.5 * white.square().sum((-2, -1)) - constant
        return density

    def around(self, noise: Tensor) -> Tensor:
        """Return the examples of white noise (..., c, *cells), of the same shape."""
        made = self._by_cell(noise) @ self.scale_tril.mT + self.loc
        return made.mT.reshape(noise.shape)

    def _by_cell(self, value: Tensor) -> Tensor:
        """Return examples as (..., cells, c)."""
        leading = value.shape[: value.dim() - len(self.event_shape)]
        return value.reshape(*leading, len(self.loc), -1).mT

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw examples, (*sample_shape, *batch_shape, c, *cells)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.around(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))
