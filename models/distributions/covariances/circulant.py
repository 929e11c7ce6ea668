"""Stationary noise on a periodic grid, all of it observed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Covariance
from .fourier import multiplied, white_noise


class Circulant(Covariance):
    """Stationary covariance on a torus: the Fourier transform makes it diagonal.

    Everything costs O(N log N) for N cells.

    Parameters
    ----------
    spectrum : Tensor, (*torus) or (channels, *torus)
        Variance of the noise at each frequency, in the order of ``torch.fft.fftn``, the eigenvalues
        of C; positive, and the same at k and -k.
    dims : int
        Dimensions of the torus, 1 or more.
    """

    def __init__(self, spectrum: Tensor, dims: int) -> None:
        self.spectrum = spectrum
        self.dims = dims

    def whiten(self, residual: Tensor) -> Tensor:
        """Return ``C^(-1/2) r``."""
        return multiplied(residual, self.spectrum.rsqrt(), self.dims).flatten(-self.dims)

    def squared_distance(self, residual: Tensor) -> Tensor:
        """Return ``rᵀ C⁻¹ r``."""
        return self.whiten(residual).square().sum(-1)

    def log_determinant(self) -> Tensor:
        """Return the sum of the logarithms of the spectrum."""
        return self.spectrum.log().flatten(-self.dims).sum(-1)

    def num_observed(self) -> Tensor:
        """Return the number of cells."""
        num_cells = self.spectrum.shape[-self.dims :].numel()
        return torch.full_like(self.spectrum.flatten(-self.dims)[..., 0], num_cells)

    def predict(self, residual: Tensor) -> Tensor:
        """Return the residual: nothing is hidden."""
        return residual

    def draw(self, shape: Sequence[int]) -> Tensor:
        """Return ``C^(1/2)`` times white noise."""
        return multiplied(white_noise(shape, self.spectrum), self.spectrum.sqrt(), self.dims)
