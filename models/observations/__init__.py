"""How a network's output becomes data."""

from .base import Observation, factorised
from .bernoulli import Bernoulli
from .categorical import Categorical
from .censored import Censored
from .colored_gaussian import ColoredGaussian
from .columns import Columns
from .discretized_logistic import DiscretizedLogistic, bits_per_dimension
from .gaussian import Gaussian
from .laplace import Laplace
from .low_rank_gaussian import LowRankGaussian
from .masked import Masked
from .multivariate_gaussian import MultivariateGaussian
from .negative_binomial import NegativeBinomial
from .ordinal import Ordinal
from .poisson import Poisson
from .sensed import Sensed
from .student_t import StudentT
from .truncated import Truncated
from .wrapper import Wrapper

__all__ = [
    "Bernoulli",
    "Categorical",
    "Censored",
    "ColoredGaussian",
    "Columns",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "LowRankGaussian",
    "Masked",
    "MultivariateGaussian",
    "NegativeBinomial",
    "Observation",
    "Ordinal",
    "Poisson",
    "Sensed",
    "StudentT",
    "Truncated",
    "Wrapper",
    "bits_per_dimension",
    "factorised",
]
