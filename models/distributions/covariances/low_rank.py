"""A few common factors beside independent noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Covariance, num_true
from .fourier import white_noise


class LowRank(Covariance):
    """``C = W Wᵀ + D``: the noise is ``W f + e`` with standard normal factors f and independent e.

    Cells are left out of a sum, so hidden ones cost nothing; no matrix is larger than r x r, where
    r is the number of factors.

    Parameters
    ----------
    loadings : Tensor, (r, *signal)
        W.
    variance : Tensor, (*signal)
        D, positive.
    mask : bool Tensor, optional
        (..., *signal), true where observed.
    """

    def __init__(self, loadings: Tensor, variance: Tensor, mask: Tensor | None = None) -> None:
        self.dims = variance.dim()
        self._loadings = loadings.flatten(1)
        self._variance = variance.flatten()
        self._mask = mask
        seen = torch.ones_like(self._variance)
        self._observed = seen if mask is None else mask.flatten(-self.dims).to(variance.dtype)
        self._precision = self._observed / self._variance  # (..., N)
        weighted = self._loadings * self._precision[..., None, :]  # (..., r, N)
        identity = torch.eye(len(loadings), dtype=loadings.dtype, device=loadings.device)
        self._factor = torch.linalg.cholesky(identity + weighted @ self._loadings.mT)
        self._weighted = weighted

    def factors(self, residual: Tensor) -> Tensor:
        """Return the mean of the factors given the observed residuals, (..., r)."""
        gain = torch.cholesky_solve(self._weighted, self._factor)
        return (gain @ residual.flatten(-self.dims)[..., None])[..., 0]

    def factor_covariance(self) -> Tensor:
        """Return the covariance of the factors given the observed residuals, (..., r, r)."""
        return torch.cholesky_inverse(self._factor)

    def whiten(self, residual: Tensor) -> Tensor:
        """Return the factors' mean and what it leaves over, in units of the independent noise.

        ``r_oᵀ C_oo⁻¹ r_o`` is the smallest value of ``(r_o - W_o f)ᵀ D_o⁻¹ (r_o - W_o f) + fᵀ f``:
        no large numbers are subtracted, as they are in Woodbury's formula.
        """
        factors = self.factors(residual)
        rest = residual.flatten(-self.dims) - factors @ self._loadings
        # Not the root of the precision, whose derivative is infinite in hidden cells.
        return torch.cat([rest * self._observed * self._variance.rsqrt(), factors], -1)

    def squared_distance(self, residual: Tensor) -> Tensor:
        """Return ``r_oᵀ C_oo⁻¹ r_o``."""
        return self.whiten(residual).square().sum(-1)

    def log_determinant(self) -> Tensor:
        """Return ``log det D_o + log det(I + W_oᵀ D_o⁻¹ W_o)``."""
        independent = (self._observed * self._variance.log()).sum(-1)
        common: Tensor = 2 * self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return independent + common

    def num_observed(self) -> Tensor:
        """Return the number of observed cells."""
        if self._mask is None:
            return self._observed.sum(-1)
        return num_true(self._mask, self.dims, self._variance.dtype)

    def predict(self, residual: Tensor) -> Tensor:
        """Return ``W E[f | r_o]`` in hidden cells, the residual in observed ones."""
        hidden = (self.factors(residual) @ self._loadings).reshape(residual.shape)
        return residual if self._mask is None else torch.where(self._mask, residual, hidden)

    def draw(self, shape: Sequence[int]) -> Tensor:
        """Return ``W f + e`` with fresh f and e."""
        leading = tuple(shape)[: len(shape) - self.dims]
        factors = white_noise((*leading, len(self._loadings)), self._loadings)
        own = white_noise((*leading, len(self._variance)), self._variance)
        return (factors @ self._loadings + own * self._variance.sqrt()).reshape(*shape)
