"""How a network's output becomes data."""

from .base import Observation, factorised
from .bernoulli import Bernoulli
from .colored_gaussian import ColoredGaussian
from .gaussian import Gaussian
from .low_rank_gaussian import LowRankGaussian
from .masked import Masked
from .multivariate_gaussian import MultivariateGaussian

__all__ = [
    "Bernoulli",
    "ColoredGaussian",
    "Gaussian",
    "LowRankGaussian",
    "Masked",
    "MultivariateGaussian",
    "Observation",
    "factorised",
]
