"""Probabilities below, above and between limits, by family: what limits of values are made of.

:func:`tails_of` is the table of families. One's own is added by ``tails_of.register(Family)`` with
a function from the distribution to its :class:`Tails`.
"""

from functools import singledispatch
from typing import Any

import pyro.distributions as dist
import torch

from .base import Tails
from .counts import CountTails, NegativeBinomialTails, PoissonTails
from .log_normal import LogNormalTails
from .symmetric import LaplaceTails, LogisticTails, NormalTails, StudentTTails, SymmetricTails

__all__ = [
    "CountTails",
    "LaplaceTails",
    "LogNormalTails",
    "LogisticTails",
    "NegativeBinomialTails",
    "NormalTails",
    "PoissonTails",
    "StudentTTails",
    "SymmetricTails",
    "Tails",
    "tails_of",
]


@singledispatch
def tails_of(cells: Any) -> Tails:
    """Return the tails of a distribution of independent cells, by its class.

    Parameters
    ----------
    cells : Distribution
        Batch shape (n, ...), no event shape.

    Raises
    ------
    TypeError
        If the family has none.
    """
    raise TypeError(
        f"{type(cells).__name__} has no cumulative distribution that is exact in the tails, which "
        "limits of values need: use Normal, Laplace, Logistic, StudentT, LogNormal, Poisson or "
        "NegativeBinomial cells, or register one by "
        "explainaway.models.distributions.tails.tails_of.register"
    )


tails_of.register(torch.distributions.Normal)(NormalTails)
tails_of.register(torch.distributions.Laplace)(LaplaceTails)
tails_of.register(dist.Logistic)(LogisticTails)
tails_of.register(torch.distributions.StudentT)(StudentTTails)
tails_of.register(torch.distributions.LogNormal)(LogNormalTails)


@tails_of.register
def _poisson(cells: torch.distributions.Poisson) -> Tails:
    return PoissonTails(cells, cells.rate)


@tails_of.register
def _negative_binomial(cells: torch.distributions.NegativeBinomial) -> Tails:
    return NegativeBinomialTails(cells, cells.total_count, cells.logits)
