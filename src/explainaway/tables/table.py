"""A table as it was in fit: how its columns are kept and modelled; rows in the model's terms."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from .choice import chosen, given
from .column_models import ColumnModel, Constant, Scored
from .limited_scores import limited_scores
from .limits import Limits, censored_by, with_kind
from .storage import Numbers, Storage, storage_of
from .table_model import Layout
from .warned import warn


class Rows(NamedTuple):
    """Rows of a table in the model's terms.

    Attributes
    ----------
    numbers : array, (n, columns)
        Cells as numbers, NaN where missing or of a label that fit has not seen.
    open : bool array, (n, columns)
        Cells that are to be filled: missing or censored.
    below, above : array, (n, columns)
        Limits below which, and above which, censored cells are known to lie; NaN elsewhere.
    y : Tensor, (n, columns of the model)
        What the model is given, NaN where hidden.
    context : dict of Tensor, optional
        Its limits.
    """

    numbers: Numbers
    open: NDArray[np.bool_]
    below: Numbers
    above: Numbers
    y: Tensor
    context: dict[str, Tensor] | None

    def say_something(self) -> NDArray[np.bool_]:
        """Return which rows have a cell that is known, by a limit at least."""
        known = (~self.y.isnan()).any(1).numpy()
        limited = ~np.isnan(self.below) | ~np.isnan(self.above)
        found: NDArray[np.bool_] = known | limited.any(1)
        return found

    def known(self, layout: Layout) -> NDArray[np.bool_]:
        """Return which cells the model was given a value of, (n, columns)."""
        given = (~self.y.isnan()).numpy()
        return np.stack([given[:, places].any(1) for places in layout.places], 1)

    def some(self, rows: NDArray[np.int64]) -> "Rows":
        """Return some of the rows."""
        context = self.context and {key: value[rows] for key, value in self.context.items()}
        return Rows(
            self.numbers[rows],
            self.open[rows],
            self.below[rows],
            self.above[rows],
            self.y[rows],
            context,
        )


@dataclass(frozen=True)
class Table:
    """The columns that have observed cells.

    Attributes
    ----------
    storages : list of Storage
        How each is kept.
    models : list of ColumnModel
        How each is modelled.
    layout : Layout
        Where each is in the model.
    """

    storages: Sequence[Storage]
    models: Sequence[ColumnModel]
    layout: Layout

    @staticmethod
    def of(
        frame: pd.DataFrame, kinds: Mapping[Hashable, Any], limits: Limits, most_levels: int
    ) -> "Table":
        """Return the table of a frame, kinds inferred but for those given."""
        storages, models = [], []
        for name in frame:
            storage = storage_of(name, frame[name])
            if storage.sort == "empty":
                continue
            numbers = storage.read(frame[name])
            models.append(_model(storage, numbers, kinds, limits, most_levels))
            storages.append(storage)
        return Table(storages, models, Layout([s.name for s in storages], models))

    @property
    def names(self) -> list[Hashable]:
        """Of its columns."""
        return [storage.name for storage in self.storages]

    def read(self, frame: pd.DataFrame) -> tuple[Numbers, NDArray[np.bool_]]:
        """Return a frame's cells as numbers, and which are missing, (n, columns) each."""
        numbers, missing = np.empty((2, len(frame), len(self.storages)))
        for column, storage in enumerate(self.storages):
            numbers[:, column] = storage.read(frame[storage.name])
            missing[:, column] = frame[storage.name].isna()
        return numbers, missing.astype(bool)

    def rows(
        self,
        numbers: Numbers,
        missing: NDArray[np.bool_],
        limits: Limits | None = None,
        hidden: NDArray[np.bool_] | None = None,
    ) -> Rows:
        """Return rows in the model's terms, with some observed cells hidden from it."""
        if hidden is None:
            hidden = np.zeros_like(missing)
        bounds = limits or {}
        tensor = partial(torch.as_tensor, dtype=self.layout.bias.dtype)
        shape = len(numbers), self.layout.width
        below, above = np.full_like(numbers, np.nan), np.full_like(numbers, np.nan)
        y, low, high = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
        for column, (storage, model) in enumerate(zip(self.storages, self.models, strict=True)):
            places, cells = self.layout.places[column], numbers[:, column]
            if model.is_limited:
                pair = with_kind(model, bounds.get(storage.name))
                if storage.name not in bounds and pair == (None, None):
                    _warn_of_no_limits(storage)
                below[:, column], above[:, column] = censored_by(storage, pair, cells)
                high[:, places[-1]] = model.encode_limit(below[:, column])
                low[:, places[-1]] = model.encode_limit(above[:, column])
            elif storage.name in bounds:
                raise ValueError(
                    f"limits[{storage.name!r}] are given, but in fit the column had none: it is "
                    f"modelled as {model.summary}"
                )
            exact = np.isnan(below[:, column]) & np.isnan(above[:, column])
            given_cells = np.where(exact & ~hidden[:, column], cells, np.nan)
            y[:, places] = model.encode(given_cells)
            if places:
                _warn_of_unseen(storage, given_cells, y[:, places])
        limited = ~np.isnan(below) | ~np.isnan(above)
        context = None
        if any(model.is_limited for model in self.models):
            context = {"lower": tensor(low), "upper": tensor(high)}
        numbers = np.where(hidden, np.nan, numbers)
        return Rows(numbers, missing | limited | hidden, below, above, tensor(y), context)

    def some_known(self, rows: Rows, share: float, seed: int, fewest: int = 0) -> NDArray[np.bool_]:
        """Return a share of the cells that the model was given a value of, (n, columns)."""
        cells = np.argwhere(rows.known(self.layout) & ~rows.open)
        order = np.random.default_rng(seed).permutation(len(cells))
        chosen = np.zeros_like(rows.open)
        chosen[tuple(cells[order[: max(fewest, round(share * len(cells)))]].T)] = True
        return chosen

    def labels_of(self, column: int) -> pd.Index:
        """Return a column's levels as its cells hold them."""
        storage, model = self.storages[column], self.models[column]
        levels = np.array([model.value]) if isinstance(model, Constant) else model.levels
        assert levels is not None
        if storage.is_time:
            return pd.Index(storage.cells_of(levels, storage.dtype))
        if storage.is_number:
            return pd.Index(levels.astype(np.int64) if storage.is_whole else levels)
        return pd.Index([storage.labels[int(level)] for level in levels], dtype=object)

    def decode(self, column: int, cells: Numbers, rows: Rows) -> Numbers:
        """Return a column's numbers, (draws, n), from the model's cells (draws, n, columns)."""
        model = self.models[column]
        numbers = model.decode(cells[..., self.layout.places[column]].astype(np.float64))
        return self.within(column, numbers, rows)

    def within(self, column: int, numbers: Numbers, rows: Rows) -> Numbers:
        """Return a column's numbers, (..., n), whole where its are, within the cells' limits."""
        if self.storages[column].is_whole and self.models[column].levels is None:
            numbers = np.rint(numbers)
        # Rounding takes nothing beyond a limit.
        return np.fmin(np.fmax(numbers, rows.above[:, column]), rows.below[:, column])


def _model(
    storage: Storage,
    numbers: Numbers,
    kinds: Mapping[Hashable, Any],
    limits: Limits,
    most_levels: int,
) -> ColumnModel:
    if storage.name in kinds:
        found = given(kinds[storage.name], storage, numbers)
        if storage.name in limits and not found.is_limited:
            raise ValueError(
                f"limits[{storage.name!r}] need a censored kind, got kinds[{storage.name!r}] = "
                f"{kinds[storage.name]!r}: write Censored({found.summary}()), or leave the kind out"
            )
        return found
    if storage.name not in limits:
        return chosen(storage, numbers, most_levels)
    if not storage.is_number:
        raise ValueError(f"limits[{storage.name!r}] are of numbers, but the column holds labels")
    bounds = censored_by(storage, limits[storage.name], numbers)
    try:
        scores = limited_scores(numbers, *bounds)
    except ValueError as error:
        raise ValueError(f"limits[{storage.name!r}]: {error}") from error
    return Scored(scores, is_limited=True)


def _warn_of_no_limits(storage: Storage) -> None:
    warn(
        f"column {storage.name!r} had limits in fit, and has none for these rows: cells at or "
        f"beyond a limit stay as they are. Give limits={{{storage.name!r}: (lower, upper)}}, or "
        "(None, None) where no cell is censored",
    )


def _warn_of_unseen(storage: Storage, cells: Numbers, encoded: Numbers) -> None:
    unseen = ~np.isnan(cells) & np.isnan(encoded).all(1)
    if unseen.any():
        warn(
            f"column {storage.name!r} is modelled by the few values that fit has seen, and holds "
            f"others in {unseen.sum()} of its cells, such as {storage.shown(cells[unseen][0])}: "
            "they stay as they are and say nothing about other cells",
        )
