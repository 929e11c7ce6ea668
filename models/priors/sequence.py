"""What priors of latent sequences share: another length, and what comes next."""

import copy
from abc import abstractmethod
from typing import Self

from torch import Tensor

from ..arguments import check_count
from .base import Prior


class SequencePrior(Prior):
    """A distribution over sequences of latents; the event is (T, d).

    Attributes
    ----------
    dim : int
        Components of a latent, d.
    length : int
        Latents of a sequence, T.
    """

    def __init__(self, dim: int, length: int) -> None:
        super().__init__()
        check_count("dim", dim)
        check_count("length", length)
        self.dim = dim
        self.length = length

    def of_length(self, length: int) -> Self:
        """Return the same dynamics, with the same parameters, for sequences of another length.

        Raises
        ------
        ValueError
            If ``length`` is not a positive integer.
        """
        check_count("length", length)
        other = copy.copy(self)
        other.length = length
        return other

    @abstractmethod
    def continued(self, latents: Tensor, num_steps: int) -> Tensor:
        """Draw what follows given sequences.

        Parameters
        ----------
        latents : Tensor
            (..., T, d), of any length.
        num_steps : int
            How many latents to draw.

        Returns
        -------
        Tensor
            (..., num_steps, d), from torch's global random state.
        """
