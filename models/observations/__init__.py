"""How a network's output becomes data."""

from .base import Observation, factorised
from .bernoulli import Bernoulli
from .gaussian import Gaussian
from .masked import Masked

__all__ = ["Bernoulli", "Gaussian", "Masked", "Observation", "factorised"]
