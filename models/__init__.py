"""What is believed: generator networks as Pyro models.

Reading order: :class:`GeneratorModel` joins a prior, a network and an observation into one Pyro
model; the rest are the pieces it is made of. Nothing here knows how a model is learned.
"""

from .bernoulli import Bernoulli
from .gaussian import Gaussian
from .generator_model import GeneratorModel
from .generators import deconvnet, mlp
from .masked import Masked
from .normal import Normal
from .observation import Observation, Prior, factorised

__all__ = [
    "Bernoulli",
    "Gaussian",
    "GeneratorModel",
    "Masked",
    "Normal",
    "Observation",
    "Prior",
    "deconvnet",
    "factorised",
    "mlp",
]
