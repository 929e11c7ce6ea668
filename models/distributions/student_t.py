"""Student's t distribution with any number of degrees of freedom."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor

MANY = 1e4
"""Degrees of freedom from which on the normaliser is that of Stirling's series, to 1e-13."""


class StudentTCells(dist.StudentT):  # type: ignore[misc]  # Pyro makes it at import
    """Student's t, exact in float32 where it is close to the normal, with its Fisher information.

    torch takes the difference of two log gammas, which for a million degrees of freedom are 6e6
    and differ by 7. Nor does it know a divergence between two such distributions.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        kernel = -0.5 * (self.df + 1) * torch.log1p(y**2 / self.df)
        log_density: Tensor = kernel + _log_normaliser(self.df) - self.scale.log()
        return log_density

    def information(self) -> list[tuple[Tensor, Tensor]]:
        """Return the location with the information about it."""
        return [(self.loc, (self.df + 1) / (self.df + 3) * self.scale**-2)]


def _log_normaliser(df: Tensor) -> Tensor:
    """Return ``log Γ((ν + 1) / 2) - log Γ(ν / 2) - log(πν) / 2``, computed in float64."""
    wide = df.double()
    few = wide.clamp(max=MANY)
    exact = torch.lgamma(0.5 * (few + 1)) - torch.lgamma(0.5 * few) - 0.5 * (math.pi * few).log()
    series = -0.5 * math.log(2 * math.pi) - 0.25 / wide + 1 / (24 * wide**3)
    return torch.where(wide > MANY, series, exact).to(df.dtype)
