"""Which model a column gets, from its cells or from what was asked for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import Bernoulli, Categorical, Censored, Observation, Ordinal
from ..models.observations.callables import as_observation
from .column_models import (
    ColumnModel,
    Constant,
    Given,
    Hurdle,
    Levels,
    Measured,
    Scored,
    is_measurement,
)
from .normal_scores import NormalScores
from .storage import Numbers, Storage

CELLS_OF_A_LEVEL = 5
"""Few values are categories only if each stands in so many cells, in the mean."""

MOST_REPEATED = 5
"""Times as many values as otherwise may a column of categories hold whose values repeat (tax rates
of towns)."""

UNEVEN = 2
"""Times as many values have nine tenths of such a column's cells as would have all of them were
they equally frequent. Of ages about as many have."""

MOST_NEW = 0.1
"""Share of its cells that hold a value of their own: as probable is a new one (Good 1953)."""

SPIKE = 0.1
"""Share of the cells from which on a single value of a measurement is learned by itself."""

FEWEST_IN_A_SPIKE = 10
"""Cells that it has to stand in: in a small table a tenth is soon there by chance."""

FEWEST_BESIDE_SPIKES = 5
"""Different values that a measurement has to have beside those."""


def chosen(storage: Storage, numbers: Numbers, most_levels: int) -> ColumnModel:
    """Return the model of a column whose kind was not given."""
    observed = numbers[~np.isnan(numbers)]
    values, counts = np.unique(observed, return_counts=True)
    if len(values) == 1:
        return Constant(float(values[0]))
    if storage.sort == "labels":
        return Levels(values, counts.astype(np.float64), storage.ordered)
    is_few = len(values) <= most_levels and len(observed) >= CELLS_OF_A_LEVEL * len(values)
    often = counts >= max(SPIKE * len(observed), FEWEST_IN_A_SPIKE)
    # A column that ends in a frequent value (no rain) is that value or a measurement.
    repeats = not often[0] and not often[-1] and _are_repeated(counts, most_levels)
    if len(values) == 2 or is_few or repeats:
        return Levels(values, counts.astype(np.float64))
    if not often.any() or len(values) - often.sum() < FEWEST_BESIDE_SPIKES:
        return Scored(NormalScores.of(observed))
    spikes = values[often]
    rest = observed[~np.isin(observed, spikes)]
    shares = np.array([len(rest), *counts[often]], dtype=np.float64)
    which = Levels(np.arange(len(spikes) + 1.0), shares)
    return Hurdle(
        spikes, which, Scored(NormalScores.of(rest)), tuple(map(storage.shown, spikes.tolist()))
    )


def _are_repeated(counts: NDArray[np.int64], most: int) -> bool:
    """Return whether few of many values are in most cells, and others repeat too.

    How many values there are is counted by how often two cells hold the same: the inverse of
    Simpson's index (Hill, "Diversity and evenness", 1973).

    Parameters
    ----------
    counts : array of int
        Of each value.
    most : int
        Number of values that a column of categories may have.
    """
    if most <= 2 or len(counts) > MOST_REPEATED * most:
        return False
    cells = counts.sum()
    values = cells**2 / (counts**2).sum()
    of_most_cells = int((np.sort(counts)[::-1].cumsum() < 0.9 * cells).sum()) + 1
    is_uneven = values <= min(most, of_most_cells / UNEVEN)
    return bool(is_uneven and (counts == 1).sum() <= MOST_NEW * cells)


def given(kind: Any, storage: Storage, numbers: Numbers) -> ColumnModel:
    """Return the model of a column whose kind was given.

    Raises
    ------
    TypeError, ValueError
        If the kind is not an observation, or not one for such a column.
    """
    name = storage.name
    try:
        observation = as_observation(kind)
    except TypeError as error:
        raise TypeError(f"kinds[{name!r}]: {error}") from error
    observed = numbers[~np.isnan(numbers)]
    if isinstance(observation, Ordinal) and storage.sort == "labels" and not storage.ordered:
        raise ValueError(
            f"kinds[{name!r}] is Ordinal, but labels such as {storage.labels[0]!r} have no order: "
            "make the column an ordered category, as by Series.astype(pandas.CategoricalDtype("
            "[...], ordered=True))"
        )
    if isinstance(observation, Bernoulli | Categorical | Ordinal):
        return Given(observation, _levels(name, observation, storage, observed))
    if storage.sort == "labels":
        raise ValueError(
            f"kinds[{name!r}] must be Bernoulli(), Categorical(k) or Ordinal(k) for a column of "
            f"labels such as {storage.labels[0]!r}, got {type(observation).__name__}"
        )
    if not is_measurement(observation):
        return Given(observation)
    scale = float(observed.std())
    if scale > 0:
        return Measured(observation, float(observed.mean()), scale)
    if isinstance(observation, Censored):
        raise ValueError(
            f"kinds[{name!r}] is Censored, but all observed cells are "
            f"{storage.shown(observed[0])}: how far beyond the limit others lie is to be learned "
            "from cells that differ"
        )
    return Constant(float(observed[0]))


def _levels(name: Any, observation: Observation, storage: Storage, observed: Numbers) -> Numbers:
    """Return the numbers of a given number of levels: those that occur, or 0 or 1 and up."""
    number = getattr(observation, "num_categories", getattr(observation, "num_grades", 2))
    values = np.unique(observed)
    if len(values) == number:
        return values
    for first in (0, 1):
        counted = np.arange(first, first + number, dtype=np.float64)
        if storage.sort != "labels" and np.isin(values, counted).all():
            return counted
    what = f"kinds[{name!r}] is {type(observation).__name__} with {number} levels, but the column "
    if storage.sort == "labels":
        raise ValueError(f"{what}holds the {len(values)} labels {list(storage.labels)}")
    raise ValueError(
        f"{what}holds {len(values)} different ones, from {values[0]:g} to {values[-1]:g}; where "
        f"some do not occur, levels must be the numbers 0 to {number - 1} or 1 to {number}"
    )
