"""What observations and priors return: Pyro distributions that torch and Pyro do not have.

Reading order: :class:`Cells` is the independent cells of an example as one event, and
:class:`GaussianCells` the same for normal ones; :class:`CorrelatedNormal` has a covariance of
``covariances``. :class:`CensoredCells` and :class:`TruncatedCells` limit cells by the probabilities
in ``tails``. :class:`Levels`, :class:`LogisticLevels` and the counts are what single cells may be,
:class:`TableRow` puts columns of different kinds side by side. The last ones are those of latents.
"""

from .cells import Cells
from .censored_cells import CensoredCells
from .channel_normal import ChannelNormal
from .correlated_normal import CorrelatedNormal
from .counts import NegativeBinomialCounts, PoissonCounts
from .finite_mixture import FiniteMixture
from .gaussian_cells import GaussianCells
from .levels import Grades, Levels
from .logistic_levels import LogisticLevels
from .masked_within import MaskedWithin
from .recurrent_chain import RecurrentChain
from .smoothed_laplace import SmoothedLaplace
from .table_row import TableRow
from .truncated_cells import TruncatedCells
from .vector_autoregression import VectorAutoregression

__all__ = [
    "Cells",
    "CensoredCells",
    "ChannelNormal",
    "CorrelatedNormal",
    "FiniteMixture",
    "GaussianCells",
    "Grades",
    "Levels",
    "LogisticLevels",
    "MaskedWithin",
    "NegativeBinomialCounts",
    "PoissonCounts",
    "RecurrentChain",
    "SmoothedLaplace",
    "TableRow",
    "TruncatedCells",
    "VectorAutoregression",
]
