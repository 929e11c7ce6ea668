"""The distribution of a logistic variable that is rounded to levels."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

LEVELS_AT_ONCE = 16
"""Levels that a mean is summed over in one go: it needs so many times the memory of the data."""


class LogisticLevels(dist.TorchDistribution):
    """A logistic variable rounded to the nearest of the levels 0 to K - 1.

    Parameters
    ----------
    loc, scale : Tensor
        Of the logistic, in levels; they broadcast.
    levels : int
        K.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    loc: Tensor
    scale: Tensor

    def __init__(
        self, loc: Tensor, scale: Tensor, levels: int, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """Levels 0 to K - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "LogisticLevels":
        """Return the same distribution with more batch dimensions."""
        shape = torch.Size(batch_shape)
        return LogisticLevels(
            self.loc.expand(shape), self.scale.expand(shape), self.levels, self._validate_args
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log mass of levels, in nats, exact in both tails.

        ``σ(b) - σ(a) = σ(b) σ(-a) (1 - exp(a - b))``: no difference of numbers near 1.
        """
        if self._validate_args:
            self._validate_sample(value)
        lowest, highest = value <= 0, value >= self.levels - 1
        distance = value - self.loc
        below = logsigmoid((distance + 0.5) / self.scale)
        above = logsigmoid((0.5 - distance) / self.scale)
        width = (-torch.expm1(-1 / self.scale)).log()
        return (
            torch.where(highest, 0.0, below)
            + torch.where(lowest, 0.0, above)
            + torch.where(lowest | highest, 0.0, width)
        )

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return levels as floating-point numbers."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            least = torch.finfo(self.loc.dtype).eps
            uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            drawn = self.loc + self.scale * uniform.clamp(least, 1 - least).logit()
            return drawn.round().clamp(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """``E[y] = Σ P(y ≥ k)`` over k from 1 to K - 1."""
        edges = torch.arange(1, self.levels, dtype=self.loc.dtype, device=self.loc.device) - 0.5
        total = torch.zeros_like(self.loc)
        for some in edges.split(LEVELS_AT_ONCE):
            upper = (self.loc[..., None] - some) / self.scale[..., None]
            total = total + upper.sigmoid().sum(-1)
        return total

    def information(self) -> list[tuple[Tensor, Tensor]]:
        """Return the location with the information that a level has about it.

        Rounding takes the share ``Σ p³`` over levels of the logistic's ``1 / (3 s²)``; what inner
        levels add to that, at most ``1 / (16 s²)``, is left out.
        """
        ends = [self.log_prob(torch.full_like(self.loc, k)) for k in (0.0, self.levels - 1.0)]
        kept = 1 - sum((3 * end).exp() for end in ends)
        return [(self.loc, kept / (3 * self.scale**2))]
