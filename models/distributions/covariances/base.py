"""What the covariance of correlated noise has to offer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


class Covariance(ABC):
    """Covariance ``C`` of the noise of a signal, of which some cells may be hidden.

    A signal is what the last ``dims`` dimensions of a tensor hold; the dimensions before them
    (examples, channels) hold independent ones. ``o`` stands for the observed cells of a signal. A
    residual may hold any finite value in a hidden cell.
    """

    dims: int

    @abstractmethod
    def whiten(self, residual: Tensor) -> Tensor:
        """Return numbers whose squares add up to ``r_oᵀ C_oo⁻¹ r_o``, linear in the residual.

        Parameters
        ----------
        residual : Tensor
            (..., *signal).

        Returns
        -------
        Tensor
            (..., k), where k may differ from the number of cells.
        """

    @abstractmethod
    def squared_distance(self, residual: Tensor) -> Tensor:
        """Return ``r_oᵀ C_oo⁻¹ r_o`` of residuals (..., *signal), (...)."""

    @abstractmethod
    def log_determinant(self) -> Tensor:
        """Return ``log det C_oo`` of each signal; it broadcasts to (...)."""

    @abstractmethod
    def num_observed(self) -> Tensor:
        """Return the number of observed cells of each signal; it broadcasts to (...)."""

    @abstractmethod
    def predict(self, residual: Tensor) -> Tensor:
        """Return the mean of the noise given that of the observed cells, ``C_:o C_oo⁻¹ r_o``.

        Parameters
        ----------
        residual : Tensor
            (..., *signal).

        Returns
        -------
        Tensor
            Of the residual's shape; in observed cells the residual up to rounding, where noise
            is all that the residual holds.
        """

    @abstractmethod
    def draw(self, shape: Sequence[int]) -> Tensor:
        """Return noise of a shape (..., *signal), in every cell, hidden ones included."""


def num_true(mask: Tensor, dims: int, dtype: torch.dtype) -> Tensor:
    """Return how many of the last ``dims`` dimensions' cells are true."""
    return mask.flatten(-dims).sum(-1).to(dtype)
