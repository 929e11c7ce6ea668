"""Several models of a table side by side, in the shares that fill in hidden cells best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .coordinates import Coordinates
from .fitted import FittedTable, RowDraws, RowModel
from .joint_normal import NormalRecipe, is_narrow
from .learning import Learning
from .limits import Limits
from .mixing import r_hats, warn_if_slow
from .network import Network
from .seeds import seed_of
from .storage import Numbers
from .table import Rows, Table
from .table_model import table_model

HIDDEN_SHARE = 0.15
"""Of the observed cells, by which the shares are found."""

AGAIN = 1 / 3
"""Of the epochs, in which the network, learned without them, learns from the hidden cells too."""

NUM_DRAWS = 60

MOST_ROWS = 1000
"""In which hidden cells are drawn and compared."""

PARTS = 20
"""Shares are multiples of one over so many."""


class _Recipe(Protocol):
    """How a model is made of rows."""

    @property
    def most_rows(self) -> int:
        """Of how many rows at most."""

    def model(self, rows: Rows) -> RowModel:
        """Return the model."""

    def draws(self, rows: Rows, index: NDArray[np.int64]) -> RowDraws:
        """Return draws of those of the rows of which a model is made that are in ``index``."""


class _Learned(NamedTuple):
    """A network with a draw of all rows' latents, (n, d)."""

    network: Network
    latents: Tensor


@dataclass(frozen=True)
class Candidates:
    """How the models of a table are made.

    Attributes
    ----------
    latent_dim : int
        Number of the network's latent components.
    hidden : tuple of int
        Widths of its layers.
    learning : Learning
        Of it.
    seed : int
        Of everything.
    """

    latent_dim: int
    hidden: tuple[int, ...]
    learning: Learning
    seed: int

    def network(self, table: Table, rows: Rows) -> Network:
        """Return the network as it is learned."""
        return self.learned(table, rows, None).network

    def learned(self, table: Table, rows: Rows, start: "_Learned | None") -> "_Learned":
        """Return the network, learned for a shorter time if it was already of most cells."""
        index = np.flatnonzero(rows.say_something())
        some, learning, latents = rows.some(index), self.learning, None
        model = table_model(table.layout, self.latent_dim, self.hidden, self.seed)
        if start is not None:
            model.load_state_dict(start.network.model.state_dict())
            learning = replace(learning, epochs=math.ceil(learning.epochs * AGAIN))
            latents = start.latents[index]
        found = learning.learn(model, some.y, some.context, len(table.models), self.seed, latents)
        every = torch.zeros(len(rows.numbers), found.shape[1], dtype=found.dtype)
        every[index] = found
        return _Learned(Network.of(table, model, some.y, some.context, found), every)

    def stacked(self, table: Table, complete: Rows, limits: Limits) -> FittedTable:
        """Return the network and normal models, those that have a share.

        Some observed cells are hidden, every model is made of the others, and the shares are those
        of the mixture that predicts the hidden cells with the least continuous ranked probability
        score (stacking, Yao, Vehtari, Simpson & Gelman 2018, by another score).

        Parameters
        ----------
        complete : Rows
            The table.
        limits : mapping
            As they were given.
        """
        recipes = self._recipes(table, complete)
        hidden = table.some_known(complete, HIDDEN_SHARE, self.seed)
        shares = np.full(len(recipes), 1 / len(recipes))
        if len(recipes) > 1 and hidden.any():
            rows = table.rows(complete.numbers, np.isnan(complete.numbers), limits, hidden)
            index = np.flatnonzero(hidden.any(1))
            most = min(recipe.most_rows for recipe in recipes)
            if len(index) > most:
                index = np.sort(np.random.default_rng(self.seed).permutation(index)[:most])
            draws = [recipe.draws(rows, index).completed() for recipe in recipes]
            shares = best_shares(draws, complete.numbers[index], hidden[index], table)
            drawn = rows.open & ~rows.open.all(0)
            chains = np.flatnonzero(shares[1:]) + 1
            found = [r_hats(draws[k], drawn[index], table) for k in chains]
            warn_if_slow(found, self.learning.epochs)
        kept = np.flatnonzero(shares)
        return FittedTable(table, [recipes[k].model(complete) for k in kept], shares[kept].tolist())

    def _recipes(self, table: Table, complete: Rows) -> list[_Recipe]:
        """Return how each of the models is made."""
        learning = self.learning
        recipes: list[_Recipe] = [_NetworkRecipe(self, table)]

        def normal(coordinates: Coordinates, start_bent: bool = False) -> NormalRecipe:
            seed = seed_of(len(recipes), self.seed)
            return NormalRecipe(
                table, coordinates, learning.epochs, seed, start_bent, learning.progress
            )

        utilities = Coordinates.of(table, complete, indicators=False)
        if is_narrow(utilities):
            recipes.append(normal(utilities))
            if any(len(column.maps) > 1 for column in utilities.numbers):
                recipes.append(normal(utilities, start_bent=True))
        indicators = Coordinates.of(table, complete, indicators=True)
        differ = any(category.form == "indicators" for category in indicators.categories)
        if differ and is_narrow(indicators) and indicators.numbers:
            recipes.append(normal(indicators))
        return recipes


@dataclass
class _NetworkRecipe:
    """Learns the network; after it was learned for comparison, it goes on from there."""

    candidates: Candidates
    table: Table
    before: _Learned | None = None
    most_rows: int = MOST_ROWS

    def model(self, rows: Rows) -> Network:
        return self.candidates.learned(self.table, rows, self.before).network

    def draws(self, rows: Rows, index: NDArray[np.int64]) -> RowDraws:
        self.before = self.candidates.learned(self.table, rows, None)
        seed = self.candidates.seed
        return self.before.network.drawn(rows.some(index), index, NUM_DRAWS, seed)


def best_shares(
    draws: Sequence[Numbers], truth: Numbers, asked: NDArray[np.bool_], table: Table
) -> Numbers:
    """Return the shares whose mixture has the least mean score over the columns.

    Parameters
    ----------
    draws : sequence of array, (draws, n, columns)
        By each model.
    truth : array, (n, columns)
        The cells.
    asked : bool array, (n, columns)
        Those that were hidden.
    """
    columns = np.flatnonzero(asked.any(0)).tolist()
    number = len(draws)
    errors, spreads = np.zeros(number), np.zeros((number, number))
    for column in columns:
        cells = asked[:, column]
        true = truth[cells, column]
        drawn = [each[:, cells, column] for each in draws]
        is_line = table.storages[column].is_number
        unit = (np.nanstd(truth[:, column]) or 1.0) if is_line else 1.0
        for k in range(number):
            errors[k] += _distance(drawn[k], true[None], is_line) / unit
            # Without bias: a draw has no distance from itself.
            own = len(drawn[k]) / (len(drawn[k]) - 1)
            spreads[k, k] += own * _distance(drawn[k], drawn[k], is_line) / unit
            for other in range(k):
                distance = _distance(drawn[k], drawn[other], is_line) / unit
                spreads[k, other] += distance
                spreads[other, k] += distance
    grid = simplex(number, PARTS)
    scores = grid @ errors - np.einsum("gk,kl,gl->g", grid, spreads, grid) / 2
    found: Numbers = grid[scores.argmin()]
    return found


def _distance(first: Numbers, second: Numbers, is_line: bool) -> float:
    """Return the mean distance of draws (draws, n) of the same cells: of labels 0 or 1."""
    pairs = first[:, None], second[None]
    return float(np.abs(pairs[0] - pairs[1]).mean() if is_line else (pairs[0] != pairs[1]).mean())


def simplex(number: int, parts: int) -> Numbers:
    """Return all shares (points, number) that are multiples of one over ``parts``."""
    firsts = product(range(parts + 1), repeat=number - 1)
    points = [(*first, parts - sum(first)) for first in firsts if sum(first) <= parts]
    return np.array(points) / parts
