"""How a network's output becomes data."""

from .base import Observation, factorised
from .bernoulli import Bernoulli
from .categorical import Categorical
from .columns import Columns
from .discretized_logistic import DiscretizedLogistic, bits_per_dimension
from .gaussian import Gaussian
from .laplace import Laplace
from .masked import Masked
from .negative_binomial import NegativeBinomial
from .ordinal import Ordinal
from .poisson import Poisson
from .student_t import StudentT

__all__ = [
    "Bernoulli",
    "Categorical",
    "Columns",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "Masked",
    "NegativeBinomial",
    "Observation",
    "Ordinal",
    "Poisson",
    "StudentT",
    "bits_per_dimension",
    "factorised",
]
