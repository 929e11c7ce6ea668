"""What is believed: generator networks as Pyro models.

Reading order: :class:`GeneratorModel` joins a prior, a network and an observation into one Pyro
model. ``priors``, ``networks`` and ``observations`` hold the pieces it is made of, ``operators``
what may lie between a signal and its measurements, ``distributions`` what pieces return. Two wings
work with whole models: ``factor_analysis``, the closed form, and ``dynamics``, latents that move.
Nothing here knows how a model is learned.

A name that is both a prior and an observation is found in ``models.priors`` and
``models.observations``, a function that belongs to a wing in that wing: ``dynamics.yule_walker``,
``factor_analysis.sweep``, ``networks.linear_piece``.
"""

from . import distributions, dynamics, factor_analysis, networks, observations, operators, priors
from .dynamics import (
    DynamicTexture,
    Forecast,
    LinearDynamics,
    dynamic_texture,
    forecast,
)
from .factor_analysis import FactorAnalysis
from .generator_model import GeneratorModel
from .networks import (
    OverTime,
    deconvnet,
    linear,
    mlp,
    sound_deconvnet,
    texture_deconvnet,
    video_deconvnet,
)
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
    "bits_per_dimension",
    "deconvnet",
    "distributions",
    "dynamic_texture",
    "dynamics",
    "factor_analysis",
    "factorised",
    "forecast",
    "linear",
    "mlp",
    "networks",
    "observations",
    "operators",
    "priors",
    "sound_deconvnet",
    "texture_deconvnet",
    "video_deconvnet",
]
