"""Stationary noise on a periodic grid with hidden cells, matrix-free."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import Covariance, num_true
from .conjugate_gradients import observed_solve
from .fourier import multiplied, white_noise
from .observed_determinant import observed_log_determinant


class ObservedCirculant(Covariance):
    """Stationary covariance on a torus that is observed in some cells of a window.

    The window is the torus' first corner; what lies outside it is hidden like any other cell. A
    torus larger than the window keeps its edges from being neighbours.

    Parameters
    ----------
    spectrum : Tensor, (*torus) or (channels, *torus)
        As in :class:`Circulant`.
    window : sequence of int
        Size of the signal in each dimension, at most that of the torus.
    mask : bool Tensor, optional
        (..., *window), true where observed; by default all of the window.
    """

    def __init__(self, spectrum: Tensor, window: Sequence[int], mask: Tensor | None = None) -> None:
        self.spectrum = spectrum
        self.dims = len(window)
        self._window: tuple[Any, ...] = tuple(slice(size) for size in window)
        self._padding = [
            pad
            for size, inner in zip(reversed(spectrum.shape), reversed(window), strict=False)
            for pad in (0, size - inner)
        ]
        if mask is None:
            mask = torch.ones(*window, dtype=torch.bool, device=spectrum.device)
        self._observed = self._on_torus(mask)

    def whiten(self, residual: Tensor) -> Tensor:
        """Return ``C^(-1/2)`` times the mean of the noise on the whole torus."""
        weights = self._solve(residual)[1]
        return multiplied(weights, self.spectrum.sqrt(), self.dims).flatten(-self.dims)

    def squared_distance(self, residual: Tensor) -> Tensor:
        """Return ``r_oᵀ C_oo⁻¹ r_o``."""
        return self._solve(residual)[0]

    def log_determinant(self) -> Tensor:
        """Return ``log det C_oo``."""
        channels = self.spectrum.shape[: -self.dims]
        leading = torch.broadcast_shapes(self._observed.shape[: -self.dims], channels)
        observed = self._observed.expand(*leading, *self._observed.shape[-self.dims :])
        determinant: Tensor = observed_log_determinant(self.spectrum, observed, self.dims)
        return determinant

    def num_observed(self) -> Tensor:
        """Return the number of observed cells."""
        return num_true(self._observed, self.dims, self.spectrum.dtype)

    def predict(self, residual: Tensor) -> Tensor:
        """Return ``C_:o C_oo⁻¹ r_o``."""
        return self._in_window(self._on_whole_torus(residual))

    def matrix(self) -> Tensor:
        """Return C of the window's cells, hidden ones included, (N, N) or (channels, N, N)."""
        cells = torch.Size(part.stop for part in self._window)
        unit = torch.eye(cells.numel()).to(self.spectrum).reshape(-1, *cells)
        gain = self.spectrum.unsqueeze(-self.dims - 1)
        rows = self._in_window(multiplied(self._on_torus(unit), gain, self.dims))
        return rows.flatten(-self.dims)

    def draw(self, shape: Sequence[int]) -> Tensor:
        """Return ``C^(1/2)`` times white noise, in the window."""
        return self._in_window(self._draw_on_torus(tuple(shape)[: len(shape) - self.dims]))

    @torch.no_grad()
    def draw_given(self, residual: Tensor, generator: torch.Generator) -> Tensor:
        """Return a draw of the noise on the whole torus given the observed residuals.

        A free draw plus the prediction of what it misses is an exact conditional draw.

        References
        ----------
        Hoffman & Ribak, "Constrained realizations of Gaussian fields" (1991).
        """
        free = self._draw_on_torus(residual.shape[: -self.dims], generator)
        return free + self._on_whole_torus(residual - self._in_window(free))

    def _draw_on_torus(
        self, leading: Sequence[int], generator: torch.Generator | None = None
    ) -> Tensor:
        white = white_noise(
            (*leading, *self.spectrum.shape[-self.dims :]), self.spectrum, generator
        )
        return multiplied(white, self.spectrum.sqrt(), self.dims)

    def _on_whole_torus(self, residual: Tensor) -> Tensor:
        return multiplied(self._solve(residual)[1], self.spectrum, self.dims)

    def _solve(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        residual = self._on_torus(residual)
        observed = self._observed.expand(residual.shape)
        solved: tuple[Tensor, Tensor] = observed_solve(residual, self.spectrum, observed, self.dims)
        return solved

    def _on_torus(self, signal: Tensor) -> Tensor:
        return nn.functional.pad(signal, self._padding) if any(self._padding) else signal

    def _in_window(self, field: Tensor) -> Tensor:
        return field[(..., *self._window)]
