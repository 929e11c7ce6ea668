"""Gaussian noise of a known covariance."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..arguments import first_place
from ..distributions.covariances import Covariance, Dense
from ..pieces import Entry
from .correlated import CorrelatedGaussian


class MultivariateGaussian(CorrelatedGaussian):
    """Gaussian noise with a given covariance between columns, ``y ~ N(signal, covariance)``.

    Under ``Masked`` the missing columns are integrated out exactly, and predicted from the signal
    and from the residuals of the observed columns. It takes N³/3 operations for each example with
    N columns; many cells want :class:`ColoredGaussian` or :class:`LowRankGaussian`.

    Parameters
    ----------
    covariance : Tensor or nested list, (columns, columns)
        Covariance of the noise in the units of y, squared.
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise.

    Raises
    ------
    ValueError
        If ``covariance`` is not a symmetric, positive definite matrix.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import MultivariateGaussian
    >>> observation = MultivariateGaussian([[1.0, 0.8], [0.8, 2.0]])
    >>> y, mask = torch.tensor([[0.0, 1.0]]), torch.tensor([[False, True]])
    >>> observation.complete(torch.zeros(1, 2), y, mask)
    tensor([[0.4000, 1.0000]])
    """

    entry = Entry(
        "y ~ N(inverse_link(output), covariance)",
        "Anderson (1958), chapter 2",
        "MultivariateGaussian(torch.eye(6) + 0.5)",
    )

    matrix: Tensor

    def __init__(
        self,
        covariance: Tensor | list[list[float]],
        inverse_link: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(inverse_link)
        matrix = torch.as_tensor(covariance)
        if not matrix.is_floating_point():
            matrix = matrix.to(torch.get_default_dtype())
        self.register_buffer("matrix", _checked(matrix.detach().clone()))

    def covariance(self, mask: Tensor | None = None) -> Covariance:
        """Return the covariance, with what is observed of it."""
        return Dense(self.matrix, mask)

    def check_shape(self, name: str, shape: torch.Size) -> None:
        """Raise ValueError if an array (n, ...) has not the covariance's columns."""
        columns = len(self.matrix)
        if shape[1:] != (columns,):
            raise ValueError(
                f"{name} must have shape (n, {columns}), a column for each row of the covariance, "
                f"got {tuple(shape)}"
            )


def _checked(matrix: Tensor) -> Tensor:
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"covariance must be a square matrix, got shape {tuple(matrix.shape)}")
    if not bool(matrix.isfinite().all()):
        place = list(first_place(~matrix.isfinite()))
        raise ValueError(f"covariance{place} must be finite, got {float(matrix[tuple(place)])}")
    apart = (matrix - matrix.mT).abs() > 1e-5 * matrix.diagonal().abs().max()
    if bool(apart.any()):
        i, j = first_place(apart)
        raise ValueError(
            f"covariance must be symmetric, got {float(matrix[i, j]):g} at {[i, j]} and "
            f"{float(matrix[j, i]):g} at {[j, i]}"
        )
    smallest = float(torch.linalg.eigvalsh(matrix.double())[0])
    if int(torch.linalg.cholesky_ex(matrix).info) != 0 or smallest <= 0:
        raise ValueError(
            "covariance must be positive definite, got a matrix whose smallest eigenvalue is "
            f"{smallest:g}"
        )
    return matrix
