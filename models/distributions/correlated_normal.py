"""Normal cells of an example that are correlated with each other."""

import math
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from .covariances import Covariance


class CorrelatedNormal(dist.TorchDistribution):
    """``N(loc, C)`` as one event: the exact marginal of those cells that the covariance observes.

    Parameters
    ----------
    loc : Tensor, (n, ...)
        Means, with one dimension for the examples; dimensions between it and the covariance's
        signal (channels) hold independent signals of one event.
    covariance : Covariance
        Of the noise, with its mask.
    batch_dims : int, default 1
        Leading dimensions of ``loc`` that are not part of the event.
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = True

    def __init__(self, loc: Tensor, covariance: Covariance, batch_dims: int = 1) -> None:
        self.loc = loc
        self.covariance = covariance
        super().__init__(loc.shape[:batch_dims], loc.shape[batch_dims:], validate_args=False)

    @property
    def support(self) -> Any:
        """Real numbers in each cell."""
        return dist.constraints.independent(dist.constraints.real, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The location."""
        return self.loc

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "CorrelatedNormal":
        """Return the same distribution with more batch dimensions."""
        shape = torch.Size(batch_shape)
        return CorrelatedNormal(
            self.loc.expand(shape + self.event_shape), self.covariance, len(shape)
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of the observed cells, in nats."""
        constant = self.covariance.log_determinant() + (
            self.covariance.num_observed() * math.log(2 * math.pi)
        )
        each = self.covariance.squared_distance(value - self.loc) + constant
        channels = len(self.event_shape) - self.covariance.dims
        return -0.5 * (each.flatten(-channels).sum(-1) if channels else each)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Return draws of every cell, hidden ones included."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        return self.loc + self.covariance.draw(shape)

    def complete(self, value: Tensor) -> Tensor:
        """Return the mean of every cell given the observed ones."""
        return self.loc + self.covariance.predict(value - self.loc)

    def draw_given(self, value: Tensor) -> Tensor:
        """Return draws of every cell given the observed ones, exact in the hidden cells.

        Noise is drawn in every cell, and corrected by what the difference between the observed
        residual and it predicts (Matheron's rule).
        """
        noise = self.covariance.draw(value.shape)
        return self.loc + noise + self.covariance.predict(value - self.loc - noise)

    def fisher(self) -> list[tuple[Tensor, Tensor]]:
        """Return the whitened means with the information about each, which is 1."""
        whitened = self.covariance.whiten(self.loc)
        return [(whitened, torch.ones_like(whitened))]
