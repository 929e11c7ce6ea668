"""Any covariance of few cells, by its Cholesky factor."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Covariance, num_true
from .fourier import white_noise


class Dense(Covariance):
    """A covariance matrix; hidden cells are left out exactly.

    A hidden cell gets a row of the identity, so that one batched factorisation serves examples
    whose masks differ: (n, N, N) numbers for N cells, which do not depend on the residual.

    Parameters
    ----------
    matrix : Tensor, (N, N) or (channels, N, N)
        Positive definite.
    mask : bool Tensor, optional
        (..., *signal), true where observed, with N cells in a signal.
    dims : int, default 1
        Dimensions of a signal.
    """

    def __init__(self, matrix: Tensor, mask: Tensor | None = None, dims: int = 1) -> None:
        self.matrix = matrix
        self.dims = dims
        self._mask = mask
        self._observed = None if mask is None else mask.flatten(-dims).to(matrix.dtype)
        if self._observed is None:
            self._factor = torch.linalg.cholesky(matrix)
        else:
            seen = self._observed
            kept = matrix * seen[..., :, None] * seen[..., None, :]
            self._factor = torch.linalg.cholesky(kept + torch.diag_embed(1 - seen))

    def whiten(self, residual: Tensor) -> Tensor:
        """Return ``L⁻¹ r`` with ``C_oo = L Lᵀ``."""
        identity = torch.eye(
            self.matrix.shape[-1], dtype=self.matrix.dtype, device=self.matrix.device
        )
        # Inverted for itself: a captured graph does it once for all residuals.
        inverse = torch.linalg.solve_triangular(self._factor, identity, upper=False)
        whitened: Tensor = (inverse @ self._flat(residual)[..., None])[..., 0]
        return whitened

    def squared_distance(self, residual: Tensor) -> Tensor:
        """Return ``r_oᵀ C_oo⁻¹ r_o``."""
        return self.whiten(residual).square().sum(-1)

    def log_determinant(self) -> Tensor:
        """Return ``log det C_oo``."""
        determinant: Tensor = 2 * self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return determinant

    def num_observed(self) -> Tensor:
        """Return the number of observed cells."""
        if self._mask is None:
            return torch.full_like(self.matrix[..., 0, 0], self.matrix.shape[-1])
        return num_true(self._mask, self.dims, self.matrix.dtype)

    def predict(self, residual: Tensor) -> Tensor:
        """Return ``C_:o C_oo⁻¹ r_o``."""
        weights = torch.cholesky_solve(self._flat(residual)[..., None], self._factor)
        if self._observed is not None:
            weights = weights * self._observed[..., None]
        return (self.matrix @ weights).reshape(residual.shape)

    def draw(self, shape: Sequence[int]) -> Tensor:
        """Return the Cholesky factor of the whole covariance times white noise."""
        white = white_noise(shape, self.matrix).flatten(-self.dims)
        noise: Tensor = torch.linalg.cholesky(self.matrix) @ white[..., None]
        return noise.reshape(*shape)

    def _flat(self, residual: Tensor) -> Tensor:
        flat = residual.flatten(-self.dims)
        return flat if self._observed is None else flat * self._observed
