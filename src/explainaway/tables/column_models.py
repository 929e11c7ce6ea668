"""How a column is modelled: the cells of the model that stand for one of its cells."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..models import Bernoulli, Categorical, Censored, Gaussian, Observation, Ordinal, Truncated
from ..models.observations.location_scale import LocationScale
from .normal_scores import NormalScores
from .storage import Numbers

FIRST_SCALE = 0.7
"""Where learned scales start, in standard deviations of a column."""


class Part(NamedTuple):
    """A column of the model.

    Attributes
    ----------
    observation : Observation
        Of a single column.
    bias : tuple of float
        Where the network's outputs for it start.
    shared_by : tuple, optional
        Parts with the same one become one group of columns.
    """

    observation: Observation
    bias: tuple[float, ...]
    shared_by: tuple[Any, ...] | None = None


class ColumnModel(ABC):
    """One column of a table as one or more columns of the model."""

    summary: str
    """Its kind, as a table of columns shows it."""

    levels: Numbers | None = None
    """The numbers that a cell may hold, where they are few."""

    limits: tuple[float | None, float | None] = (None, None)
    """Below which, and above which, cells are known only to lie."""

    is_limited: bool = False
    """Whether cells may be known by limits alone."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """The columns of the model."""

    @abstractmethod
    def encode(self, numbers: Numbers) -> Numbers:
        """Return the model's cells, (n, parts), NaN where hidden."""

    @abstractmethod
    def decode(self, cells: Numbers) -> Numbers:
        """Return the numbers, (...), that the model's cells (..., parts) stand for."""

    def log_slope(self, numbers: Numbers) -> Numbers:
        """Return what a log density of the numbers is more by than that of the model's cells."""
        return np.zeros_like(numbers)

    def encode_limit(self, limit: Numbers) -> Numbers:
        """Return limits of cells in the model's numbers, where :attr:`is_limited`."""
        return limit


@dataclass(frozen=True)
class Scored(ColumnModel):
    """Normal scores under Gaussian noise, whose scale is learned."""

    scores: NormalScores
    is_limited: bool = False

    @property
    def summary(self) -> str:  # type: ignore[override]
        """The kind."""
        return "normal scores, censored" if self.is_limited else "normal scores"

    @property
    def parts(self) -> tuple[Part, ...]:
        """A score."""
        gaussian = Gaussian(FIRST_SCALE, learn_scale=True)
        if self.is_limited:
            return (Part(Censored(gaussian), (0.0,)),)
        return (Part(gaussian, (0.0,), ("scored",)),)

    def encode(self, numbers: Numbers) -> Numbers:
        """Return the scores."""
        return self.scores.to_scores(numbers)[:, None]

    def decode(self, cells: Numbers) -> Numbers:
        """Return the values of scores."""
        return self.scores.to_values(cells[..., 0])

    def log_slope(self, numbers: Numbers) -> Numbers:
        """Return the map's."""
        return self.scores.log_slope(numbers)

    def encode_limit(self, limit: Numbers) -> Numbers:
        """Return its score."""
        return self.scores.to_scores(limit)


@dataclass(frozen=True)
class Levels(ColumnModel):
    """A few values or labels: a category, one of two, or a grade."""

    values: Numbers
    counts: Numbers
    ordered: bool = False

    @property
    def summary(self) -> str:  # type: ignore[override]
        """The kind."""
        if len(self.values) == 2:
            return "Bernoulli"
        return f"{'Ordinal' if self.ordered else 'Categorical'}({len(self.values)})"

    @property
    def levels(self) -> Numbers:  # type: ignore[override]
        """The numbers that a cell may hold."""
        return self.values

    @property
    def parts(self) -> tuple[Part, ...]:
        """The level's number, at first as probable as it is in the column."""
        number = len(self.values)
        share = (self.counts + 0.5) / (self.counts + 0.5).sum()
        if number == 2:
            return (Part(Bernoulli(), (float(np.log(share[1] / share[0])),), ("two",)),)
        if self.ordered:
            below = torch.as_tensor(share.cumsum()[:-1], dtype=torch.get_default_dtype())
            return (Part(Ordinal(number, below.logit()), (0.0,)),)
        return (Part(Categorical(number), tuple(np.log(share)), ("levels", number)),)

    def encode(self, numbers: Numbers) -> Numbers:
        """Return the level's number, NaN where there is none such."""
        place = places_among(self.values, numbers)
        return np.where(place < 0, np.nan, place)[:, None]

    def decode(self, cells: Numbers) -> Numbers:
        """Return the level."""
        return self.values[cells[..., 0].astype(np.int64)]


@dataclass(frozen=True)
class Hurdle(ColumnModel):
    """A measurement that is often one of some values, and else anything.

    One column says which of the values, the first meaning none of them; the other is the
    measurement, hidden where it is one of them.
    """

    spikes: Numbers
    which: Levels
    rest: Scored
    often: tuple[str, ...]
    """The values as they are written."""

    @property
    def summary(self) -> str:  # type: ignore[override]
        """The kind."""
        return f"{self.rest.summary}, often {', '.join(self.often)}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """Which value, and the score of the rest."""
        return (*self.which.parts, *self.rest.parts)

    def encode(self, numbers: Numbers) -> Numbers:
        """Return which value, and the score of the rest."""
        is_spike = numbers[:, None] == self.spikes
        which = np.where(np.isnan(numbers), np.nan, is_spike @ np.arange(1, len(self.spikes) + 1))
        rest = np.where(is_spike.any(1), np.nan, numbers)
        return np.concatenate([self.which.encode(which), self.rest.encode(rest)], 1)

    def decode(self, cells: Numbers) -> Numbers:
        """Return one of the values, or the measurement."""
        which = cells[..., 0].astype(np.int64)
        spike = self.spikes[np.maximum(which - 1, 0)]
        return np.where(which > 0, spike, self.rest.decode(cells[..., 1:]))

    def log_slope(self, numbers: Numbers) -> Numbers:
        """Return the map's where a cell is none of the values."""
        is_spike = (numbers[:, None] == self.spikes).any(1)
        return np.where(is_spike, 0.0, self.rest.log_slope(numbers))


@dataclass(frozen=True)
class Constant(ColumnModel):
    """A column that always holds the same: nothing is to be learned of it."""

    value: float
    summary: str = "constant"

    @property
    def parts(self) -> tuple[Part, ...]:
        """None."""
        return ()

    def encode(self, numbers: Numbers) -> Numbers:
        """Return nothing."""
        return np.empty((len(numbers), 0))

    def decode(self, cells: Numbers) -> Numbers:
        """Return the value."""
        return np.full(cells.shape[:-1], self.value)


@dataclass(frozen=True)
class Measured(ColumnModel):
    """A given observation of a location-scale family, of the standardised column."""

    observation: Observation
    loc: float
    scale: float

    @property
    def summary(self) -> str:  # type: ignore[override]
        """The kind."""
        base = _base_of(self.observation)
        name = type(base).__name__
        return name if base is self.observation else f"{type(self.observation).__name__}({name})"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The standardised measurement, the family's scale learned and its limits converted."""
        base = copy.deepcopy(_base_of(self.observation))
        del base.log_scale  # a buffer, where it was not to be learned
        base.log_scale = nn.Parameter(torch.tensor([FIRST_SCALE]).log())
        if isinstance(self.observation, Censored):
            # Its limits are those of single cells.
            return (Part(Censored(base), (0.0,)),)
        if isinstance(self.observation, Truncated):
            limits: list[Any] = [self.observation.low, self.observation.high]
            low, high = (None if v is None else (v - self.loc) / self.scale for v in limits)
            return (Part(Truncated(base, low, high), (0.0,)),)
        return (Part(base, (0.0,)),)

    def encode(self, numbers: Numbers) -> Numbers:
        """Return the standardised cells."""
        return ((numbers - self.loc) / self.scale)[:, None]

    def decode(self, cells: Numbers) -> Numbers:
        """Return the measurements."""
        return self.loc + self.scale * cells[..., 0]

    @property
    def is_limited(self) -> bool:  # type: ignore[override]
        """Whether the observation is censored."""
        return isinstance(self.observation, Censored)

    @property
    def limits(self) -> tuple[float | None, float | None]:  # type: ignore[override]
        """Those of the observation."""
        return _limits_of(self.observation)

    @property
    def is_truncated(self) -> bool:
        """Whether there are numbers that no cell can hold."""
        return isinstance(self.observation, Truncated)

    def log_slope(self, numbers: Numbers) -> Numbers:
        """Return minus the log of the scale."""
        return np.full_like(numbers, -np.log(self.scale))

    def encode_limit(self, limit: Numbers) -> Numbers:
        """Return the standardised limit."""
        found: Numbers = (limit - self.loc) / self.scale
        return found


@dataclass(frozen=True)
class Given(ColumnModel):
    """A given observation of the column's own numbers, or of its levels' numbers."""

    observation: Observation
    values: Numbers | None = None

    @property
    def summary(self) -> str:  # type: ignore[override]
        """The kind."""
        name = type(self.observation).__name__
        return name if self.values is None else f"{name}({len(self.values)})"

    @property
    def levels(self) -> Numbers | None:  # type: ignore[override]
        """The numbers that a cell may hold, of categories and grades."""
        return self.values

    @property
    def is_limited(self) -> bool:  # type: ignore[override]
        """Whether the observation is censored."""
        return isinstance(self.observation, Censored)

    @property
    def limits(self) -> tuple[float | None, float | None]:  # type: ignore[override]
        """Those of the observation."""
        return _limits_of(self.observation)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The column; limits are those of single cells."""
        outputs = int(np.prod(self.observation.output_shape((1,))))
        own: Any = copy.deepcopy(self.observation)
        return (Part(Censored(own.base) if self.is_limited else own, (0.0,) * outputs),)

    def encode(self, numbers: Numbers) -> Numbers:
        """Return the numbers, or the level's."""
        if self.values is None:
            return numbers[:, None]
        return Levels(self.values, np.ones_like(self.values)).encode(numbers)

    def decode(self, cells: Numbers) -> Numbers:
        """Return the numbers, or the levels."""
        return cells[..., 0] if self.values is None else self.values[cells[..., 0].astype(np.int64)]


def places_among(levels: Numbers, numbers: Numbers) -> NDArray[np.int64]:
    """Return where numbers stand among increasing levels, -1 where there is none such."""
    place = np.clip(np.searchsorted(levels, numbers), 0, len(levels) - 1)
    return np.where(levels[place] == numbers, place, -1)


def _base_of(observation: Observation) -> Any:
    return observation.base if isinstance(observation, Censored | Truncated) else observation


def _limits_of(observation: Observation) -> tuple[float | None, float | None]:
    if not isinstance(observation, Censored):
        return None, None
    low, high = observation.lower, observation.upper
    return None if low is None else float(low), None if high is None else float(high)


def is_measurement(observation: Observation) -> bool:
    """Return whether an observation is of a location-scale family without a link."""
    base = _base_of(observation)
    return isinstance(base, LocationScale) and base.inverse_link is None
