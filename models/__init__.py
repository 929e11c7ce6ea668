"""What is believed: generator networks as Pyro models.

Reading order: :class:`GeneratorModel` joins a prior, a network and an observation into one Pyro
model; the rest are the pieces it is made of. Nothing here knows how a model is learned. A name that
is both a prior and an observation is found in ``models.priors`` and ``models.observations``.
"""

from . import observations, operators, priors
from .convolutional import sound_deconvnet, texture_deconvnet, video_deconvnet
from .generator_model import GeneratorModel
from .generators import deconvnet, mlp
from .observations import Bernoulli, Gaussian, Masked, Observation, factorised
from .piecewise import LinearPiece, activation_pattern, linear_piece
from .priors import Normal, Prior

__all__ = [
    "Bernoulli",
    "Gaussian",
    "GeneratorModel",
    "LinearPiece",
    "Masked",
    "Normal",
    "Observation",
    "Prior",
    "activation_pattern",
    "deconvnet",
    "factorised",
    "linear_piece",
    "mlp",
    "observations",
    "operators",
    "priors",
    "sound_deconvnet",
    "texture_deconvnet",
    "video_deconvnet",
]
