"""What is believed of a latent before its data are seen."""

from .base import Prior
from .empirical import Empirical
from .hierarchical import Hierarchical
from .laplace import Laplace
from .latent_energy import LatentEnergy
from .mixture import Mixture
from .non_negative import NonNegative
from .normal import Normal
from .recurrent import Recurrent
from .sequence import SequencePrior
from .sparse import Sparse
from .student_t import StudentT
from .supervised import Supervised
from .var import VAR

__all__ = [
    "VAR",
    "Empirical",
    "Hierarchical",
    "Laplace",
    "LatentEnergy",
    "Mixture",
    "NonNegative",
    "Normal",
    "Prior",
    "Recurrent",
    "SequencePrior",
    "Sparse",
    "StudentT",
    "Supervised",
]
