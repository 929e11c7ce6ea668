"""A table's columns as coordinates of a normal vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.stats import norm

from ..models import Ordinal
from .column_models import ColumnModel, Given, Hurdle, Measured, Scored
from .normal_scores import NormalScores, spiked_scores
from .storage import Numbers
from .table import Rows, Table


class Map(Protocol):
    """An increasing map from a column's numbers to a coordinate."""

    @property
    def freedom(self) -> int:
        """How many of its parameters are fitted to the cells."""

    def to(self, numbers: Numbers) -> Numbers:
        """Return coordinates."""

    def back(self, coordinates: Numbers) -> Numbers:
        """Return numbers, however far out."""

    def drawn(self, coordinates: Numbers) -> Numbers:
        """Return numbers, not too far from the observed ones."""

    def log_slope(self, numbers: Numbers) -> Numbers:
        """Return the log derivative of the coordinates by the numbers."""


@dataclass(frozen=True)
class Straight:
    """The standardised number.

    Attributes
    ----------
    loc, scale : float
        Mean and standard deviation.
    lowest, highest : float
        What is drawn lies between.
    """

    loc: float
    scale: float
    lowest: float = -np.inf
    highest: float = np.inf

    @property
    def freedom(self) -> int:
        """Place and scale."""
        return 2

    @staticmethod
    def of(observed: Numbers, zero: float | None) -> "Straight":
        """Return the map of a column's cells; draws go beyond them by half of their range.

        Parameters
        ----------
        observed : array
        zero : float, optional
            Where all are above it, or none is, draws are so too.
        """
        low, high = float(observed.min()), float(observed.max())
        # Squares of very large or small numbers are beyond what a number holds.
        unit = max(-low, high)
        within = observed / unit
        lowest, highest = low - (high - low) / 2, high + (high - low) / 2
        return Straight(
            unit * float(within.mean()),
            unit * float(within.std()),
            lowest if zero is None or low < zero else max(lowest, zero),
            highest if zero is None or high > zero else min(highest, zero),
        )

    def to(self, numbers: Numbers) -> Numbers:
        """Return coordinates."""
        return (numbers - self.loc) / self.scale

    def back(self, coordinates: Numbers) -> Numbers:
        """Return numbers."""
        return self.loc + self.scale * coordinates

    def drawn(self, coordinates: Numbers) -> Numbers:
        """Return numbers between the ends."""
        return np.clip(self.back(coordinates), self.lowest, self.highest)

    def log_slope(self, numbers: Numbers) -> Numbers:
        """Return minus the log of the scale."""
        return np.full_like(numbers, -np.log(self.scale))


@dataclass(frozen=True)
class Bent:
    """The normal score, whose ends go on as straight lines."""

    scores: NormalScores

    @property
    def freedom(self) -> int:
        """Knots."""
        return len(self.scores.values)

    def to(self, numbers: Numbers) -> Numbers:
        """Return coordinates."""
        return self.scores.extended_scores(numbers)

    def back(self, coordinates: Numbers) -> Numbers:
        """Return numbers."""
        return self.scores.extended_values(coordinates)

    def drawn(self, coordinates: Numbers) -> Numbers:
        """Return numbers in the range of the observed ones."""
        return self.scores.to_values(coordinates)

    def log_slope(self, numbers: Numbers) -> Numbers:
        """Return the map's."""
        return self.scores.log_slope(numbers)


class Spike(NamedTuple):
    """A value that stands for an interval of the coordinate."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers as one coordinate.

    Attributes
    ----------
    column, place : int
        Of the table, and the coordinate.
    maps : tuple of Map
        One, or a straight and a bent one between which the data choose.
    grid : array, optional
        The values of a column that repeats itself: a draw is moved to the nearest.
    spikes : tuple of Spike
        Values that are no measurements.
    is_limited : bool
        Whether cells may be known by limits alone.
    """

    column: int
    place: int
    maps: tuple[Map, ...]
    grid: Numbers | None = None
    spikes: tuple[Spike, ...] = ()
    is_limited: bool = False

    def decode(self, coordinates: Numbers, chosen: int) -> Numbers:
        """Return the numbers that coordinates stand for under one of the maps."""
        found = self.maps[chosen].drawn(coordinates)
        if self.grid is not None:
            above = np.clip(np.searchsorted(self.grid, found), 1, len(self.grid) - 1)
            low, high = self.grid[above - 1], self.grid[above]
            found = np.where(found - low < high - found, low, high)
        for spike in self.spikes:
            inside = (coordinates > spike.low) & (coordinates < spike.high)
            found = np.where(inside, spike.value, found)
        return found


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories.

    Attributes
    ----------
    column, first : int
        Of the table, and its first coordinate.
    levels : array
        Its numbers in the table.
    form : str
        ``"utilities"``: the category is the one whose utility is greatest, that of the first is
        zero (multinomial probit). ``"grades"``: one coordinate, cut into intervals.
        ``"indicators"``: coordinates are 1 and 0, and the others normal around means that depend
        on the category.
    cuts : array
        Of grades, from minus to plus infinity.
    """

    column: int
    first: int
    levels: Numbers
    form: str
    cuts: Numbers

    @property
    def places(self) -> slice:
        """Its coordinates."""
        return slice(self.first, self.first + self.width)

    @property
    def width(self) -> int:
        """How many there are."""
        return 1 if self.form == "grades" else len(self.levels) - 1

    def decode(self, coordinates: Numbers) -> Numbers:
        """Return the table's numbers of coordinates (..., width)."""
        if self.form == "grades":
            grade = np.searchsorted(self.cuts[1:-1], coordinates[..., 0])
            return np.asarray(self.levels[grade])
        first = np.zeros_like(coordinates[..., :1])
        if self.form == "indicators":
            first = first + 0.5
        return np.asarray(self.levels[np.concatenate([first, coordinates], -1).argmax(-1)])


@dataclass(frozen=True)
class Coordinates:
    """All of them.

    Attributes
    ----------
    numbers : sequence of NumberColumn
    categories : sequence of CategoryColumn
    width : int
        How many there are.
    """

    numbers: Sequence[NumberColumn]
    categories: Sequence[CategoryColumn]
    width: int

    @property
    def are_numbers(self) -> bool:
        """Whether cells are known or not, so that one sweep is an independent draw."""
        return not self.categories and not any(
            column.spikes or column.is_limited for column in self.numbers
        )

    def decoded(self, x: Numbers, maps: Sequence[int]) -> dict[int, Numbers]:
        """Return the numbers (n,) of each column of the table, of coordinates (n, p)."""
        found = {
            column.column: column.decode(x[:, column.place], chosen)
            for column, chosen in zip(self.numbers, maps, strict=True)
        }
        for category in self.categories:
            found[category.column] = category.decode(x[:, category.places])
        return found

    @staticmethod
    def of(table: Table, rows: Rows, indicators: bool) -> "Coordinates":
        """Return those of a table.

        Parameters
        ----------
        rows : Rows
            Its rows.
        indicators : bool
            Whether categories are coordinates as they are, or have utilities.
        """
        numbers: list[NumberColumn] = []
        categories: list[CategoryColumn] = []
        width = 0
        known = rows.known(table.layout)
        for column, (storage, model) in enumerate(zip(table.storages, table.models, strict=True)):
            if not model.parts:
                continue
            cells = rows.numbers[known[:, column], column]
            levels = model.levels
            few = levels is not None and len(levels) == 2
            if levels is not None and (few or not storage.is_number or isinstance(model, Given)):
                is_grade = len(levels) > 2 and isinstance(model.parts[0].observation, Ordinal)
                form = "grades" if is_grade else "indicators" if indicators else "utilities"
                counts = (cells[:, None] == levels).sum(0) + 0.5
                cuts = norm.ppf(np.append(0.0, counts.cumsum() / counts.sum()))
                cuts[-1] = np.inf
                categories.append(CategoryColumn(column, width, levels, form, cuts))
                width += categories[-1].width
                continue
            numbers.append(_number_column(column, width, model, storage.zero, cells))
            width += 1
        return Coordinates(numbers, categories, width)


def _number_column(
    column: int, place: int, model: ColumnModel, zero: float | None, cells: Numbers
) -> NumberColumn:
    if isinstance(model, Hurdle) and _are_ends(model.spikes, cells):
        scores, intervals = spiked_scores(cells, model.spikes)
        spikes = [
            Spike(float(value), *interval)
            for value, interval in zip(model.spikes, intervals, strict=True)
        ]
        return NumberColumn(column, place, (Bent(scores),), spikes=tuple(spikes))
    limited = model.is_limited
    if isinstance(model, Scored) and limited:
        return NumberColumn(column, place, (Bent(model.scores),), is_limited=True)
    if isinstance(model, Measured) and not model.is_truncated:
        maps = (Straight(model.loc, model.scale),)
        return NumberColumn(column, place, maps, is_limited=limited)
    values = np.unique(cells)
    if limited or len(values) < 2:
        loc, scale = (cells.mean(), cells.std() or 1.0) if len(cells) else (0.0, 1.0)
        maps = (Straight(float(loc), float(scale)),)
        return NumberColumn(column, place, maps, is_limited=limited)
    bent = Bent(model.scores if isinstance(model, Scored) else NormalScores.of(cells))
    grid = values if 2 * len(values) < len(cells) else None
    if isinstance(model, Given | Measured):
        # A straight line would go on to where the given observation may have no numbers.
        return NumberColumn(column, place, (bent,), grid)
    return NumberColumn(column, place, (Straight.of(cells, zero), bent), grid)


def _are_ends(spikes: Numbers, cells: Numbers) -> bool:
    """Return whether nothing lies beyond the spikes: others are but values that are common."""
    rest = cells[~np.isin(cells, spikes)]
    return bool(((spikes < rest.min()) | (spikes > rest.max())).all())
