"""What is believed: generator networks as Pyro models.

Reading order: :class:`GeneratorModel` joins a prior, a network and an observation into one Pyro
model; the rest are the pieces it is made of. Nothing here knows how a model is learned. A name that
is both a prior and an observation is found in ``models.priors`` and ``models.observations``.
"""

from . import observations, operators, priors
from .convolutional import sound_deconvnet, texture_deconvnet, video_deconvnet
from .dynamic_texture import DynamicTexture, dynamic_texture
from .dynamics import (
    LinearDynamics,
    least_squares,
    stationary_covariance,
    synthesise,
    yule_walker,
)
from .forecasting import Forecast, forecast
from .generator_model import GeneratorModel
from .generators import deconvnet, mlp
from .observations import Bernoulli, Gaussian, Masked, Observation, factorised
from .over_time import OverTime
from .piecewise import LinearPiece, activation_pattern, linear_piece
from .priors import VAR, Normal, Prior, Recurrent, SequencePrior

__all__ = [
    "VAR",
    "Bernoulli",
    "DynamicTexture",
    "Forecast",
    "Gaussian",
    "GeneratorModel",
    "LinearDynamics",
    "LinearPiece",
    "Masked",
    "Normal",
    "Observation",
    "OverTime",
    "Prior",
    "Recurrent",
    "SequencePrior",
    "activation_pattern",
    "deconvnet",
    "dynamic_texture",
    "factorised",
    "forecast",
    "least_squares",
    "linear_piece",
    "mlp",
    "observations",
    "operators",
    "priors",
    "sound_deconvnet",
    "stationary_covariance",
    "synthesise",
    "texture_deconvnet",
    "video_deconvnet",
    "yule_walker",
]
