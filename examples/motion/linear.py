"""Linear methods: interpolation, principal components, linear dynamical systems, ridge regression.

What they need to be told is chosen on cells of the training part that are held out.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from explainaway.linear_dynamical_system import (
    LinearDynamicalSystem,
    fit_linear_dynamical_system,
)

Array = NDArray[np.float64]
Forecaster = Callable[[Array, int], Array]
"""From the rows up to now and how far to look to the rows to come."""

Setting = TypeVar("Setting")

DIMS = (3, 5, 10, 20, 40)
PRIOR_STATES = (10.0, 100.0)


class Chosen(NamedTuple):
    """What was chosen for a linear dynamical system."""

    dim: int
    prior_states: float


PAPER = Chosen(20, 0.0)
"""What Han et al. (2017) took."""


def least(settings: Sequence[Setting], loss: Callable[[Setting], float]) -> Setting:
    """Return the setting with the least loss."""
    return settings[int(np.argmin([loss(setting) for setting in settings]))]


def iterative_pca(table: Array, rank: int, iterations: int = 30) -> Array:
    """Fill missing cells (NaN) by principal components of the filled table, again and again."""
    hidden = np.isnan(table)
    mean = np.nanmean(table, 0)
    filled = np.where(hidden, mean, table)
    for _ in range(iterations):
        mean = filled.mean(0)
        left, sizes, right = np.linalg.svd(filled - mean, full_matrices=False)
        made: Array = (left[:, :rank] * sizes[:rank]) @ right[:rank] + mean
        filled = np.where(hidden, made, table)
    return made


def choose_for_recovery(table: Array, apart: NDArray[np.bool_]) -> Chosen:
    """Return the settings of the linear system that recovers held-out cells best.

    Parameters
    ----------
    table : array, (T, columns)
        NaN where missing.
    apart : bool array, (T, columns)
        Cells that are seen, but held out.
    """
    reduced = np.where(apart, np.nan, table)

    def misfit(each: Chosen) -> float:
        model = fit_linear_dynamical_system(reduced, each.dim, 4, each.prior_states)
        return float(((model.impute(reduced) - table)[apart] ** 2).mean())

    return least([Chosen(*pair) for pair in product(_dims(len(table)), PRIOR_STATES)], misfit)


def choose_rank(table: Array, apart: NDArray[np.bool_]) -> int:
    """Return the rank by which :func:`iterative_pca` recovers held-out cells best."""
    reduced = np.where(apart, np.nan, table)

    def misfit(rank: int) -> float:
        return float(((iterative_pca(reduced, rank, 15) - table)[apart] ** 2).mean())

    return least(_dims(len(table)), misfit)


def _dims(length: int) -> list[int]:
    return [dim for dim in DIMS if dim <= length // 2]


def errors_ahead(forecast: Forecaster, table: Array, first: int, steps: int) -> float:
    """Return the mean square error over rolling origins from a row on, 1 to ``steps`` ahead."""
    origins = range(first, len(table) - steps + 1)
    made = [forecast(table[:now], steps) - table[now : now + steps] for now in origins]
    return float(np.mean(np.square(made)))


def of_system(model: LinearDynamicalSystem, memory: int = 6) -> Forecaster:
    """Return the forecasts of a linear system from its filtered state; it forgets old rows."""
    return lambda past, steps: model.forecast(model.filter(past[-memory:]).mean[-1], steps)


def autoregression(table: Array, dim: int, order: int, penalty: float, steps: int) -> Forecaster:
    """Return ridge regression of each coming row on the last ones, by principal components.

    There is a regression for each distance (direct forecasts), and none of them is compounded.
    """
    mean = table.mean(0)
    basis = np.linalg.svd(table - mean, full_matrices=False)[2][:dim]
    scores = (table - mean) @ basis.T
    weight = penalty * float((scores**2).sum(1).mean())

    def lagged(rows: Array, ends: Sequence[int]) -> Array:
        return np.stack([rows[end - order : end][::-1].ravel() for end in ends])

    models = []
    for step in range(1, steps + 1):
        ends = range(order, len(scores) - step + 1)
        targets = scores[order + step - 1 :]
        models.append(Ridge(weight).fit(lagged(scores, ends), targets))

    def forecast(past: Array, count: int) -> Array:
        now = lagged((past[-order:] - mean) @ basis.T, [order])
        scores = np.concatenate([model.predict(now) for model in models[:count]])
        ahead: Array = scores @ basis + mean
        return ahead

    return forecast


def num_before(length: int, steps: int) -> int:
    """Return how many first rows are learned from where settings are chosen on the last ones."""
    return length - steps - max(4, length // 10)


def choose_for_forecast(
    table: Array, steps: int
) -> tuple[int, Chosen, tuple[int, int, float], float]:
    """Return what forecasts the last fifth of the rows best, learned from those before.

    Returns
    -------
    dim : int
        Of Doretto's system.
    chosen : Chosen
        Of a system whose transition is drawn towards zero.
    regression : tuple
        Components, order and penalty of :func:`autoregression`.
    share : float
        Of the last row's deviation from the mean that is repeated; its power is what counts after
        more steps.
    """
    first = num_before(len(table), steps)
    known = table[:first]
    dims = _dims(first)

    def system(each: Chosen) -> float:
        model = fit_linear_dynamical_system(known, each.dim, 0, each.prior_states)
        return errors_ahead(of_system(model), table, first, steps)

    def regression(each: tuple[int, int, float]) -> float:
        return errors_ahead(autoregression(known, *each, steps), table, first, steps)

    def share(each: float) -> float:
        return errors_ahead(shrunk_last(known.mean(0), each), table, first, steps)

    return (
        least([Chosen(dim, 0.0) for dim in dims], system).dim,
        least([Chosen(*pair) for pair in product(dims, (3.0, *PRIOR_STATES))], system),
        least(list(product(dims, (1, 2), (0.3, 1.0, 3.0, 10.0))), regression),
        least([0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0], share),
    )


def shrunk_last(mean: Array, share: float) -> Forecaster:
    """Return the last row, drawn towards the mean the further ahead; a share of 1 repeats it."""
    return lambda past, steps: np.stack(
        [mean + share**step * (past[-1] - mean) for step in range(1, steps + 1)]
    )
