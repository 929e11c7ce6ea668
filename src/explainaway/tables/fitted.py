"""A table with the models of its rows, each with its share of the draws."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .column_models import Constant
from .draws import log_mean_exp
from .seeds import seed_of
from .storage import Numbers
from .table import Rows, Table
from .warned import warn

CELLS_AT_ONCE = 20_000_000
"""Draws times rows times columns that are held at once."""

FEWEST_ROWS = 50


class RowDraws(Protocol):
    """Draws of some rows by one model."""

    def completed(self) -> Numbers:
        """Return the numbers of the rows' cells, (draws, m, columns), drawn where open."""

    def probabilities(self, column: int) -> Numbers:
        """Return those of a column's levels, (m, levels)."""

    def log_densities(self, of: Rows) -> Numbers:
        """Return log predictive densities of these rows' cells, (m, columns)."""


class RowModel(Protocol):
    """A model of a table's rows."""

    def drawn(self, rows: Rows, ids: NDArray[np.int64], num_draws: int, seed: int) -> RowDraws:
        """Return draws of rows with these numbers."""


@dataclass(frozen=True)
class Drawn:
    """Some rows that have cells to be filled, and draws of them.

    Attributes
    ----------
    rows : Rows
    index : array, (m,)
        Where they are in the table.
    parts : sequence of RowDraws
        By each model.
    shares : array
        Of the draws.
    order : array, (draws,)
        Of all the models' draws, so that the first of them are of all models.
    """

    rows: Rows
    index: NDArray[np.int64]
    parts: Sequence[RowDraws]
    shares: Numbers
    order: NDArray[np.int64]

    def completed(self) -> Numbers:
        """Return draws of the rows with their cells filled, (draws, m, columns)."""
        found: Numbers = np.concatenate([part.completed() for part in self.parts])[self.order]
        return found

    def probabilities(self, column: int) -> Numbers:
        """Return those of a column's levels, (m, levels)."""
        each = [part.probabilities(column) for part in self.parts]
        mixed: Numbers = np.tensordot(self.shares, np.stack(each), 1)
        return mixed

    def log_densities(self, of: Rows) -> Numbers:
        """Return log predictive densities of these rows' cells, (m, columns), in their own units.

        Parameters
        ----------
        of : Rows
            The same rows with the cells that were hidden.
        """
        each = np.stack([part.log_densities(of) for part in self.parts])
        weights = np.log(self.shares * len(self.shares))[:, None, None]
        return log_mean_exp(each + weights)


@dataclass(frozen=True)
class FittedTable:
    """A table and the models of its rows.

    Attributes
    ----------
    table : Table
    members : sequence of RowModel
        None where all columns are constant.
    shares : sequence of float
        Of the draws, each member's; they sum to one.
    """

    table: Table
    members: Sequence[RowModel]
    shares: Sequence[float]

    def drawn(self, rows: Rows, num_draws: int, seed: int) -> Iterator[Drawn]:
        """Yield the rows that have cells to be filled, some at a time, with draws."""
        if not self.members:
            return
        index = np.flatnonzero(rows.open.any(1))
        at_once = max(FEWEST_ROWS, CELLS_AT_ONCE // (num_draws * max(self.table.layout.width, 1)))
        counts = apportioned(self.shares, num_draws, seed)
        order = np.argsort(
            np.concatenate([(np.arange(count) + 0.5) / count for count in counts if count]),
            kind="stable",
        )
        shares = counts[counts > 0] / num_draws
        for start in range(0, len(index), at_once):
            places = index[start : start + at_once]
            some = rows.some(places)
            parts = [
                member.drawn(some, places, count, seed_of(number, seed))
                for number, (member, count) in enumerate(
                    zip(self.members, counts.tolist(), strict=True)
                )
                if count
            ]
            yield Drawn(some, places, parts, shares, order)

    def estimates(self, rows: Rows, num_draws: int, seed: int) -> Numbers:
        """Return the rows with posterior means in cells to be filled, of categories the mode."""
        filled = rows.numbers.copy()
        for drawn in self.drawn(rows, num_draws, seed):
            draws = drawn.completed()
            for column, (storage, model) in enumerate(
                zip(self.table.storages, self.table.models, strict=True)
            ):
                hidden = drawn.rows.open[:, column]
                if not hidden.any():
                    continue
                if model.levels is None:
                    estimate = draws[..., column].mean(0)
                elif storage.is_number and len(model.levels) > 2:
                    estimate = drawn.probabilities(column) @ model.levels
                else:
                    estimate = model.levels[drawn.probabilities(column).argmax(1)]
                filled[drawn.index[hidden], column] = estimate[hidden]
        return self._with_constants(rows, filled)

    def completions(self, rows: Rows, num_draws: int, seed: int) -> Numbers:
        """Return draws of the filled rows, (draws, n, columns)."""
        filled = np.repeat(rows.numbers[None], num_draws, 0)
        for drawn in self.drawn(rows, num_draws, seed):
            filled[:, drawn.index] = drawn.completed()
        return self._with_constants(rows, filled)

    def quantiles(self, rows: Rows, shares: list[float], num_draws: int, seed: int) -> Numbers:
        """Return quantiles of cells to be filled, (shares, n, columns); others as they are."""
        filled = np.repeat(rows.numbers[None], len(shares), 0)
        for drawn in self.drawn(rows, num_draws, seed):
            draws = drawn.completed()
            # (m + 1) p: a further draw lies below with just that probability.
            filled[:, drawn.index] = np.quantile(draws, shares, axis=0, method="weibull")
        return self._with_constants(rows, filled)

    def probabilities(self, rows: Rows, num_draws: int, seed: int) -> dict[int, Numbers]:
        """Return those of levels, by column (n, levels): of an observed cell 1 and 0."""
        found = {}
        for column, model in enumerate(self.table.models):
            if model.levels is not None:
                cells = rows.numbers[:, column, None]
                found[column] = np.where(np.isnan(cells), np.nan, cells == model.levels)
        for drawn in self.drawn(rows, num_draws, seed):
            for column, shares in found.items():
                hidden = drawn.rows.open[:, column]
                if hidden.any():
                    shares[drawn.index[hidden]] = drawn.probabilities(column)[hidden]
        for column, (storage, model) in enumerate(
            zip(self.table.storages, self.table.models, strict=True)
        ):
            if isinstance(model, Constant) and not storage.is_number:
                holds = rows.open[:, column] | (rows.numbers[:, column] == model.value)
                found[column] = np.where(holds, 1.0, np.nan)[:, None]
        return dict(sorted(found.items()))

    def score(
        self, rows: Rows, complete: Rows, asked: NDArray[np.bool_], num_draws: int, seed: int
    ) -> float:
        """Return the mean log predictive density of cells that are hidden in ``rows``, nats."""
        found = [
            drawn.log_densities(complete.some(drawn.index))[asked[drawn.index]]
            for drawn in self.drawn(rows, num_draws, seed)
        ]
        return float(np.concatenate(found).mean())

    def _with_constants(self, rows: Rows, filled: Numbers) -> Numbers:
        """Return filled rows (..., n, columns) with the values of columns that always hold one."""
        for column, model in enumerate(self.table.models):
            if isinstance(model, Constant):
                filled[..., rows.open[:, column], column] = model.value
        return filled


def warn_of_few_draws(level: float, num_draws: int) -> None:
    """Warn where intervals of a probability end beyond all draws."""
    fewest = math.ceil(round(2 / (1 - level), 6)) - 1
    if num_draws < fewest:
        warn(
            f"intervals of level={level} end beyond all of num_draws={num_draws} draws, and are "
            f"too narrow: it takes num_draws={fewest} or more",
        )


def apportioned(shares: Sequence[float], number: int, seed: int) -> NDArray[np.int64]:
    """Return how many of a number each share gets: of many seeds just its share, in the mean."""
    ends = np.cumsum(shares) / np.sum(shares) * number
    ends[-1] = number
    taken = np.floor(ends + np.random.default_rng(seed % 2**64).random()).astype(np.int64)
    counts: NDArray[np.int64] = np.diff(taken, prepend=0)
    return counts
