"""How a network's output becomes data."""

from .base import Observation, factorised
from .bernoulli import Bernoulli
from .censored import Censored
from .gaussian import Gaussian
from .masked import Masked
from .sensed import Sensed
from .truncated import Truncated

__all__ = [
    "Bernoulli",
    "Censored",
    "Gaussian",
    "Masked",
    "Observation",
    "Sensed",
    "Truncated",
    "factorised",
]
