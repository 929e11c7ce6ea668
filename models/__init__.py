"""What is believed: generator networks as Pyro models.

Reading order: :class:`GeneratorModel` joins a prior, a network and an observation into one Pyro
model; the rest are the pieces it is made of. Nothing here knows how a model is learned. A name that
is both a prior and an observation is found in ``models.priors`` and ``models.observations``.
"""

from . import observations, operators, priors
from .generator_model import GeneratorModel
from .generators import deconvnet, mlp
from .observations import (
    Bernoulli,
    ColoredGaussian,
    Gaussian,
    LowRankGaussian,
    Masked,
    MultivariateGaussian,
    Observation,
    factorised,
)
from .priors import Normal, Prior

__all__ = [
    "Bernoulli",
    "ColoredGaussian",
    "Gaussian",
    "GeneratorModel",
    "LowRankGaussian",
    "Masked",
    "MultivariateGaussian",
    "Normal",
    "Observation",
    "Prior",
    "deconvnet",
    "factorised",
    "mlp",
    "observations",
    "operators",
    "priors",
]
