"""What the pieces of a model share: their examples' context, and a line of the catalogue each."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Context = Mapping[str, Tensor]
"""Example-first tensors by name, batched with y: exposure, an operator of each example, labels."""


@dataclass(frozen=True)
class Entry:
    """A line of the catalogue of priors, observations and operators, kept with the piece itself.

    Attributes
    ----------
    distribution : str
        What it says, as a formula.
    source : str
        Where it comes from.
    example : str
        One line that makes such a piece, with the names of ``explainaway.models``, its
        ``priors``, ``observations`` and ``operators``, and ``torch``. Here it is text: what runs
        it is ``explainaway.catalogue``.
    shape : tuple of int, default (6,)
        Shape of one example's data that the example's observation fits.
    """

    distribution: str
    source: str
    example: str
    shape: tuple[int, ...] = (6,)
