"""Distributions over numbered levels, 0 to K - 1."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor


class Levels(dist.Categorical):
    """A categorical distribution whose samples are floating point, as all data are here."""

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return levels as floating-point numbers."""
        drawn: Tensor = super().sample(torch.Size(sample_shape))  # type: ignore[no-untyped-call]
        return drawn.to(self.logits.dtype)

    def information(self) -> list[tuple[Tensor, Tensor]]:
        """Return the roots of the probabilities: the information about each of them is 4.

        ``Σ (∂p)² / p = 4 Σ (∂√p)²``, where nothing is divided by a small probability.
        """
        roots = (0.5 * self.logits).exp()
        return [(roots, torch.full_like(roots, 4.0))]


class Grades(Levels):
    """Levels in an order, whose numbers have a mean."""

    @property
    def mean(self) -> Tensor:
        """Mean of the grades' numbers."""
        return self.probs @ self._numbers()

    @property
    def variance(self) -> Tensor:
        """Variance of the grades' numbers."""
        return self.probs @ self._numbers() ** 2 - self.mean**2

    def _numbers(self) -> Tensor:
        return torch.arange(self.probs.shape[-1]).to(self.probs)
