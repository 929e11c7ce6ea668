"""Factor analysis by EM: the closed-form prototype of a generator, and the tests' oracle.

Reading order: :class:`FactorAnalysis` is the estimator; ``em`` its iterations on an
``incomplete_table``, ``linear_gaussian`` the model and its exact posterior, both made of
:func:`sweep`.
"""

from .estimator import FactorAnalysis
from .sweep_operator import reverse_sweep, sweep

__all__ = ["FactorAnalysis", "reverse_sweep", "sweep"]
