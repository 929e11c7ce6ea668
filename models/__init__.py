"""What is believed: generator networks as Pyro models.

Reading order: :class:`GeneratorModel` joins a prior, a network and an observation into one Pyro
model; the rest are the pieces it is made of. Nothing here knows how a model is learned. A name that
is both a prior and an observation is found in ``models.priors`` and ``models.observations``.
"""

from . import observations, operators, priors
from .factor_analysis import FactorAnalysis
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
from .priors import (
    Empirical,
    Hierarchical,
    LatentEnergy,
    Mixture,
    NonNegative,
    Normal,
    Prior,
    Sparse,
    Supervised,
)
from .sweep_operator import reverse_sweep, sweep

__all__ = [
    "Bernoulli",
    "Categorical",
    "Censored",
    "ColoredGaussian",
    "Columns",
    "DiscretizedLogistic",
    "Empirical",
    "FactorAnalysis",
    "Gaussian",
    "GeneratorModel",
    "Hierarchical",
    "LatentEnergy",
    "LowRankGaussian",
    "Masked",
    "Mixture",
    "MultivariateGaussian",
    "NegativeBinomial",
    "NonNegative",
    "Normal",
    "Observation",
    "Ordinal",
    "Poisson",
    "Prior",
    "Sensed",
    "Sparse",
    "Supervised",
    "Truncated",
    "bits_per_dimension",
    "deconvnet",
    "factorised",
    "linear",
    "mlp",
    "observations",
    "operators",
    "priors",
    "reverse_sweep",
    "sweep",
]
