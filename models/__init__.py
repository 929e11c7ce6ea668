"""What is believed: generator networks as Pyro models.

Reading order: :class:`GeneratorModel` joins a prior, a network and an observation into one Pyro
model; the rest are the pieces it is made of. Nothing here knows how a model is learned. A name that
is both a prior and an observation is found in ``models.priors`` and ``models.observations``.
"""

from . import observations, operators, priors
from .convolutional import sound_deconvnet, texture_deconvnet, video_deconvnet
from .dynamic_texture import DynamicTexture, dynamic_texture
from .dynamics import LinearDynamics, least_squares, stationary_covariance, synthesise, yule_walker
from .factor_analysis import FactorAnalysis
from .forecasting import Forecast, forecast
from .generator_model import GeneratorModel
from .generators import deconvnet, linear, mlp
from .observations import (
    Bernoulli,
    Categorical,
    Censored,
    ColoredGaussian,
    Columns,
    DiscretizedLogistic,
    Gaussian,
    LowRankGaussian,
    Masked,
    MultivariateGaussian,
    NegativeBinomial,
    Observation,
    Ordinal,
    Poisson,
    Sensed,
    Truncated,
    bits_per_dimension,
    factorised,
)
from .over_time import OverTime
from .piecewise import LinearPiece, activation_pattern, linear_piece
from .priors import (
    VAR,
    Empirical,
    Hierarchical,
    LatentEnergy,
    Mixture,
    NonNegative,
    Normal,
    Prior,
    Recurrent,
    SequencePrior,
    Sparse,
    Supervised,
)
from .sweep_operator import reverse_sweep, sweep

__all__ = [
    "VAR",
    "Bernoulli",
    "Categorical",
    "Censored",
    "ColoredGaussian",
    "Columns",
    "DiscretizedLogistic",
    "DynamicTexture",
    "Empirical",
    "FactorAnalysis",
    "Forecast",
    "Gaussian",
    "GeneratorModel",
    "Hierarchical",
    "LatentEnergy",
    "LinearDynamics",
    "LinearPiece",
    "LowRankGaussian",
    "Masked",
    "Mixture",
    "MultivariateGaussian",
    "NegativeBinomial",
    "NonNegative",
    "Normal",
    "Observation",
    "Ordinal",
    "OverTime",
    "Poisson",
    "Prior",
    "Recurrent",
    "Sensed",
    "SequencePrior",
    "Sparse",
    "Supervised",
    "Truncated",
    "activation_pattern",
    "bits_per_dimension",
    "deconvnet",
    "dynamic_texture",
    "factorised",
    "forecast",
    "least_squares",
    "linear",
    "linear_piece",
    "mlp",
    "observations",
    "operators",
    "priors",
    "reverse_sweep",
    "sound_deconvnet",
    "stationary_covariance",
    "sweep",
    "synthesise",
    "texture_deconvnet",
    "video_deconvnet",
    "yule_walker",
]
