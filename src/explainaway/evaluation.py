"""How good a recovery is, on hidden cells only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class RecoveryError(NamedTuple):
    """Errors on hidden cells, relative to the range of the values.

    Attributes
    ----------
    mae : float
        Mean absolute error.
    rmse : float
        Root mean square error.
    """

    mae: float
    rmse: float


def recovery_error(
    truth: ArrayLike,
    observed: NDArray[np.bool_],
    for_absolute: ArrayLike,
    for_square: ArrayLike | None = None,
    value_range: float = 2.0,
) -> RecoveryError:
    """Return the errors of a recovery on the cells that were not observed.

    Parameters
    ----------
    truth : array
        Complete data.
    observed : bool array
        Of the same shape, true where the cell was seen.
    for_absolute : array
        The estimate that the absolute error is of (a posterior median minimises it).
    for_square : array, optional
        The estimate that the square error is of (a posterior mean minimises it); by default the
        same.
    value_range : float, default 2
        Largest possible minus smallest possible value.
    """
    hidden = ~np.asarray(observed)
    true = np.asarray(truth, dtype=np.float64)
    absolute = (np.asarray(for_absolute) - true)[hidden] / value_range
    second = for_absolute if for_square is None else for_square
    square = (np.asarray(second) - true)[hidden] / value_range
    return RecoveryError(float(np.abs(absolute).mean()), float(np.sqrt((square**2).mean())))
