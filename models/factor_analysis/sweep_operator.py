"""The sweep operator: regression, conditioning and inversion as one operation on a matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def sweep(matrix: ArrayLike, columns: int | Sequence[int]) -> Array:
    """Sweep a symmetric matrix, or each of a stack of them, on some columns.

    With K the columns and R the rest,

    ``[A_KK, A_KR; A_RK, A_RR]  ->  [-A_KK⁻¹, A_KK⁻¹ A_KR; A_RK A_KK⁻¹, A_RR - A_RK A_KK⁻¹ A_KR]``.

    Of a covariance matrix that gives the regression coefficients of R on K and the covariance of R
    given K; of a matrix of cross-products the least squares fit and its residual cross-products.

    Parameters
    ----------
    matrix : array, (..., k, k)
        Symmetric.
    columns : int or sequence of int
        What to sweep on, each from 0 to k - 1 and named once. Their order does not matter, and
        sweeping on them one after the other gives the same as sweeping on all at once.

    Returns
    -------
    array, (..., k, k)
        Symmetric; the input is left as it is.

    Raises
    ------
    ValueError
        If the matrix is not square, or a column is not in it or named twice.
    numpy.linalg.LinAlgError
        If the block of the columns is singular.

    References
    ----------
    Beaton (1964); Dempster (1969); with this sign, Little & Rubin, "Statistical Analysis with
    Missing Data" (2002), section 7.4.3.

    Examples
    --------
    The regression of the second variable on the first, and what it leaves unexplained:

    >>> sweep([[2.0, 1.0], [1.0, 3.0]], 0)
    array([[-0.5,  0.5],
           [ 0.5,  2.5]])
    """
    return _swept(matrix, columns, 1.0)


def reverse_sweep(matrix: ArrayLike, columns: int | Sequence[int]) -> Array:
    """Undo :func:`sweep` on some columns.

    Parameters
    ----------
    matrix, columns
        As in :func:`sweep`.

    Returns
    -------
    array, (..., k, k)

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`sweep` does.

    Examples
    --------
    >>> reverse_sweep([[-0.5, 0.5], [0.5, 2.5]], 0)
    array([[2., 1.],
           [1., 3.]])
    """
    return _swept(matrix, columns, -1.0)


def _swept(matrix: ArrayLike, columns: int | Sequence[int], sign: float) -> Array:
    given = np.asarray(matrix, dtype=np.float64)
    if given.ndim < 2 or given.shape[-1] != given.shape[-2]:
        raise ValueError(f"matrix must have shape (..., k, k), got {given.shape}")
    size = given.shape[-1]
    swept: list[int] = np.atleast_1d(columns).tolist()
    if not set(swept) <= set(range(size)) or len(set(swept)) < len(swept):
        raise ValueError(f"columns must be different numbers from 0 to {size - 1}, got {columns!r}")
    rest = [column for column in range(size) if column not in set(swept)]
    swept_rows, rest_rows = given[..., swept, :], given[..., rest, :]
    right = swept_rows[..., rest]
    try:
        inverse = np.linalg.inv(swept_rows[..., swept])
    except np.linalg.LinAlgError as error:
        message = f"the block of matrix at columns {columns!r} is singular"
        raise np.linalg.LinAlgError(message) from error
    coefficients = inverse @ right
    # In the order (swept, rest), then back.
    above = np.concatenate([-inverse, sign * coefficients], axis=-1)
    remainder = rest_rows[..., rest] - right.swapaxes(-1, -2) @ coefficients
    below = np.concatenate([sign * coefficients.swapaxes(-1, -2), remainder], axis=-1)
    back = np.argsort([*swept, *rest])
    result: Array = np.concatenate([above, below], axis=-2)[..., back, :][..., back]
    return result
