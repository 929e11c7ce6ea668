"""A Laplace density without its kink."""

import math
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all


class SmoothedLaplace(dist.TorchDistribution):
    """``p(z) ∝ cosh(z / (ε b))^(-ε)``: Laplace tails ``exp(-|z| / b)``, smooth around 0.

    The power ε of a hyperbolic secant, with scale b. Its gradient ``-tanh(z / (ε b)) / b`` exists
    everywhere to any order and is bounded, its curvature is at most ``1 / (ε b²)``. As ε goes to 0
    it becomes the Laplace distribution; at ε = 1 it is the hyperbolic secant distribution.

    Parameters
    ----------
    scale : Tensor
        b, positive.
    smoothing : Tensor
        ε, positive; broadcast to ``scale``.

    Notes
    -----
    ``cosh(x)^(-ε)`` is the density of half the logit of a Beta(ε/2, ε/2) variable, so that its
    integral is the beta function B(ε/2, 1/2) and a draw is a Laplace one plus
    ``ε b / 2`` times the logarithm of a ratio of two Gamma(1 + ε/2) variables.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "scale": constraints.positive,
        "smoothing": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(self, scale: Tensor, smoothing: Tensor, validate_args: bool | None = None) -> None:
        self.scale, self.smoothing = broadcast_all(scale, smoothing)
        super().__init__(self.scale.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SmoothedLaplace":
        """Return the same distribution with more batch dimensions."""
        return SmoothedLaplace(
            self.scale.expand(batch_shape), self.smoothing.expand(batch_shape), validate_args=False
        )

    @property
    def mean(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.scale)

    @property
    def variance(self) -> Tensor:
        """``(ε b)² ψ'(ε/2) / 2``."""
        width = self.smoothing * self.scale
        return 0.5 * width**2 * torch.polygamma(1, 0.5 * self.smoothing)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        half = 0.5 * self.smoothing
        width = self.smoothing * self.scale
        log_integral = torch.lgamma(half) + 0.5 * math.log(math.pi) - torch.lgamma(half + 0.5)
        scaled = value / width
        log_cosh = torch.logaddexp(scaled, -scaled) - math.log(2)
        result: Tensor = -self.smoothing * log_cosh - (width.log() + log_integral)
        return result

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return draws, differentiable in the scale."""
        shape = self._extended_shape(torch.Size(sample_shape))
        scale = self.scale.expand(shape)
        # A small gamma shape underflows; one above 1 does not.
        gamma = torch.distributions.Gamma(1 + 0.5 * self.smoothing.expand(shape), 1.0)
        ratio = gamma.rsample().log() - gamma.rsample().log()
        laplace = torch.distributions.Laplace(torch.zeros_like(scale), torch.ones_like(scale))
        drawn: Tensor = scale * (laplace.rsample() + 0.5 * self.smoothing * ratio)
        return drawn
