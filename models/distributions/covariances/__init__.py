"""Covariances of correlated Gaussian noise, each with what its observed cells tell of the others.

Reading order: :class:`Covariance` says what each offers; :class:`Circulant` is stationary noise on
a grid that is observed as a whole, :class:`ObservedCirculant` the same where cells are missing,
:class:`Dense` any covariance of few cells, :class:`LowRank` a few factors beside a diagonal.
"""

from .base import Covariance
from .circulant import Circulant
from .dense import Dense
from .low_rank import LowRank
from .observed_circulant import ObservedCirculant

__all__ = ["Circulant", "Covariance", "Dense", "LowRank", "ObservedCirculant"]
