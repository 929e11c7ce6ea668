"""Images whose cells are jointly normal with any covariance: hidden cells given observed ones."""

import torch
from torch import Tensor


class GaussianField:
    """Normal images of mean zero whose channels are independent and have one covariance.

    An image is solved by a Cholesky factor of the covariance of its observed cells or, where more
    than half of all cells are observed, of the precision of its hidden cells: m³/3 operations for m
    cells, whatever the number of channels.

    Parameters
    ----------
    covariance : Tensor, (h w, h w)
        Of the cells of one channel, row by row, in the units of the images squared.

    Raises
    ------
    ValueError
        If it is not a square matrix.

    References
    ----------
    Chilès & Delfiner, "Geostatistics: modeling spatial uncertainty" (2012), section 3.3 for simple
    kriging and 7.3 for draws; Rue & Held, "Gaussian Markov random fields" (2005), section 2.2 for
    the form by the precision.
    """

    def __init__(self, covariance: Tensor) -> None:
        if covariance.dim() != 2 or covariance.shape[0] != covariance.shape[1]:
            raise ValueError(
                f"covariance must be a square matrix, got shape {tuple(covariance.shape)}"
            )
        self.covariance = covariance
        self._factor: Tensor | None = None
        self._precision: Tensor | None = None

    @property
    def factor(self) -> Tensor:
        """The lower Cholesky factor of the covariance, made in double precision when asked for."""
        if self._factor is None:
            self._factor = torch.linalg.cholesky(self.covariance.double()).to(self.covariance)
        return self._factor

    @property
    def precision(self) -> Tensor:
        """The inverse of the covariance, made in double precision when it is asked for."""
        if self._precision is None:
            factor = torch.linalg.cholesky(self.covariance.double())
            # Blocks of rows are taken from it: many times as fast where rows lie together.
            self._precision = torch.cholesky_inverse(factor).to(self.covariance).contiguous()
        return self._precision

    def complete(self, y: Tensor, observed: Tensor) -> Tensor:
        """Return images whose hidden cells are their mean given the observed ones.

        Parameters
        ----------
        y : Tensor, (n, c, h, w)
            Anything where not observed.
        observed : bool Tensor, (n, 1, h, w)
            Which cells are seen, in all channels.

        Raises
        ------
        ValueError
            If images, mask and covariance do not fit each other.
        """
        seen = self._cells(observed)
        if y.dim() != 4 or observed.shape != (len(y), 1, *y.shape[2:]):
            raise ValueError(
                f"observed must have shape (n, 1, h, w) for y (n, c, h, w), got "
                f"{tuple(observed.shape)} for {tuple(y.shape)}"
            )
        known = torch.where(observed, y, 0.0).flatten(2)  # (n, c, cells)
        if _mostly(seen):
            filled, pressed = torch.zeros_like(known), known @ self.precision
            for each, right, cells in zip(filled, pressed, ~seen, strict=True):
                each[:, cells] = -_solved(self.precision, cells, right)
        else:
            weights = torch.zeros_like(known)
            for each, right, cells in zip(weights, known, seen, strict=True):
                each[:, cells] = _solved(self.covariance, cells, right)
            filled = weights @ self.covariance
        return torch.where(observed, y, filled.unflatten(2, y.shape[2:]))

    def variance(self, observed: Tensor) -> Tensor:
        """Return the variance (n, 1, h, w) of each cell given the observed ones, which have 0.

        Parameters
        ----------
        observed : bool Tensor, (n, 1, h, w)
            Which cells are seen.
        """
        seen = self._cells(observed)
        variance = torch.zeros(seen.shape).to(self.covariance)
        by_precision = _mostly(seen)
        for each, cells in zip(variance, seen, strict=True):
            rest = ~cells
            if by_precision:
                inverse = torch.cholesky_inverse(_factor(self.precision, rest))
                each[rest] = inverse.diagonal()
            else:
                across = self.covariance[cells][:, rest]
                explained = torch.linalg.solve_triangular(
                    _factor(self.covariance, cells), across, upper=False
                )
                each[rest] = self.covariance.diagonal()[rest] - explained.square().sum(0)
        images: Tensor = variance.clamp(min=0).unflatten(1, observed.shape[2:])[:, None]
        return images

    def draw_given(self, y: Tensor, observed: Tensor, generator: torch.Generator) -> Tensor:
        """Return images whose hidden cells are drawn given the observed ones, exactly.

        Parameters
        ----------
        y, observed
            As in :meth:`complete`.
        generator : torch.Generator
            Of the draws.

        Notes
        -----
        Matheron's rule: a draw of all cells, corrected by what the difference between the observed
        cells and it predicts.
        """
        white = torch.randn(y.flatten(2).shape, generator=generator).to(y)
        drawn = (white @ self.factor.mT).reshape(y.shape)
        known = torch.where(observed, y, 0.0)
        return torch.where(observed, y, drawn + self.complete(known - drawn, observed))

    def _cells(self, observed: Tensor) -> Tensor:
        seen = observed.flatten(1)
        if seen.shape[1] != len(self.covariance):
            raise ValueError(
                f"observed must have as many cells as the covariance, {len(self.covariance)}, "
                f"got {seen.shape[1]}"
            )
        return seen


def _mostly(seen: Tensor) -> bool:
    return bool(seen.float().mean() > 0.5)


def _factor(matrix: Tensor, cells: Tensor) -> Tensor:
    index = cells.nonzero()[:, 0]
    factor: Tensor = torch.linalg.cholesky(matrix[index][:, index])
    return factor


def _solved(matrix: Tensor, cells: Tensor, right: Tensor) -> Tensor:
    """Return the block of the cells' inverse times their right sides, (c, cells)."""
    solved: Tensor = torch.cholesky_solve(right[:, cells].mT, _factor(matrix, cells)).mT
    return solved
