"""How probable held-out cells were, cell by cell, and what is certain about it."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

FEWEST_EXAMPLES = 20
"""Examples from which on errors are those between examples; of fewer, those between cells."""


class MeanWithError(NamedTuple):
    """A mean over cells with its standard error."""

    mean: float
    error: float


@dataclass(frozen=True, eq=False)
class HeldOutScore:
    """Negative log predictive density of held-out cells.

    A unit is one cell, or, where the noise is correlated, all held-out cells of an example.

    Attributes
    ----------
    nats : Tensor, (units,)
        Negative log of the mean density over draws of the latents.
    num_cells : Tensor, (units,)
        Cells of each unit.
    example : int64 Tensor, (units,)
        The example that each is of.
    split : str
        Which cells they are: equal for fits of the same data with the same seed and share.
    """

    nats: Float[Tensor, " units"]
    num_cells: Float[Tensor, " units"]
    example: Int64[Tensor, " units"]
    split: str = ""

    def per_cell(self) -> MeanWithError:
        """Return nats per cell with its standard error over examples."""
        return self._mean(self.nats)

    def less(self, other: "HeldOutScore", largest: float = math.inf) -> MeanWithError:
        """Return nats per cell less another's, with the error of the paired difference.

        Parameters
        ----------
        other : HeldOutScore
            Of the same cells.
        largest : float, default inf
            What a difference counts at most, nats per cell: a few cells that are nearly impossible
            make the error so large that it hides all others.

        Raises
        ------
        ValueError
            If they are not of the same cells.
        """
        same = self.nats.shape == other.nats.shape and self.split == other.split
        if not same or not torch.equal(self.example, other.example):
            raise ValueError(
                f"scores must be of the same held-out cells, got {len(self.nats)} and "
                f"{len(other.nats)} of different splits: fit the same data with the same seed, ids "
                "and hold_out"
            )
        bound = largest * self.num_cells
        return self._mean((self.nats - other.nats).clamp(-bound, bound))

    def _mean(self, values: Tensor) -> MeanWithError:
        total = self.num_cells.sum()
        mean = values.sum() / total
        apart = values - mean * self.num_cells
        # Cells of an example share its latents, so their errors are not independent.
        groups, group = self.example.unique(return_inverse=True)
        if len(groups) >= FEWEST_EXAMPLES:
            apart = apart.new_zeros(len(groups)).index_add_(0, group, apart)
        count = len(apart)
        if count < 2:
            return MeanWithError(float(mean), math.inf)
        error = (apart.square().sum() * count / (count - 1)).sqrt() / total
        return MeanWithError(float(mean), float(error))
