"""A table with the models that were learned of it: posterior draws of rows, and their cells."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..models import GeneratorModel
from .draws import cell_densities, level_probabilities, log_mean_exp
from .row_chains import latent_draws
from .storage import Numbers
from .table import Rows, Table
from .weights import Posterior

CELLS_AT_ONCE = 20_000_000
"""Draws times rows times columns that are held at once."""

FEWEST_ROWS = 50

FEWEST_VISITS = 20
"""Of models, by the chains of one lot of draws."""


@dataclass(frozen=True)
class Drawn:
    """Some rows that have cells to be filled, and draws of their latents.

    Attributes
    ----------
    fitted : FittedTable
        Whose rows they are.
    rows : Rows
        As the models were given them.
    index : array, (m,)
        Where they are in the table.
    models : list of GeneratorModel
        Their weights.
    latents : list of Tensor, (draws, m, d)
        For each of the models.
    """

    fitted: "FittedTable"
    rows: Rows
    index: NDArray[np.int64]
    models: list[GeneratorModel]
    latents: list[Tensor]

    def completed(self, num_draws: int, seed: int) -> Numbers:
        """Return draws of the rows with their cells filled, (draws, m, columns)."""
        table, rows = self.fitted.table, self.rows
        cells = [
            model.impute(rows.y, latents, seed=seed + number, context=rows.context).numpy()
            for number, (model, latents) in enumerate(zip(self.models, self.latents, strict=True))
        ]
        # One of each model in turn, so that the first of them are of all.
        none = np.empty((num_draws, *rows.y.shape))
        drawn = np.stack(cells, 1).reshape(-1, *rows.y.shape)[:num_draws] if cells else none
        filled = np.repeat(rows.numbers[None], num_draws, 0)
        for column in range(len(table.models)):
            hidden = rows.open[:, column]
            if hidden.any():
                filled[..., hidden, column] = table.decode(column, drawn, rows)[:, hidden]
        return filled

    def probabilities(self, column: int) -> Numbers:
        """Return those of a column's levels, (m, levels)."""
        table = self.fitted.table
        levels, (place,) = table.models[column].levels, table.layout.places[column]
        assert levels is not None
        shares = [
            level_probabilities(model, latents, place, len(levels))
            for model, latents in zip(self.models, self.latents, strict=True)
        ]
        mean: Numbers = np.mean(shares, 0)
        return mean

    def log_densities(self, of: Rows) -> Numbers:
        """Return log predictive densities of these rows' cells, (m, columns), in their own units.

        Parameters
        ----------
        of : Rows
            The same rows with the cells that were hidden.
        """
        table = self.fitted.table
        by_cell = np.concatenate(
            [
                cell_densities(model, latents, of.y, of.context).double().numpy()
                for model, latents in zip(self.models, self.latents, strict=True)
            ]
        )
        columns = [
            log_mean_exp(by_cell[..., places].sum(-1)) + model.log_slope(of.numbers[:, column])
            for column, (places, model) in enumerate(
                zip(table.layout.places, table.models, strict=True)
            )
        ]
        return np.stack(columns, 1)


@dataclass(frozen=True)
class FittedTable:
    """A table and its models: several where draws are proper, none where all is constant."""

    table: Table
    posterior: Posterior

    @property
    def models(self) -> list[GeneratorModel]:
        """The model with each of the drawn weights."""
        return self.posterior.models

    def drawn(self, rows: Rows, num_draws: int, seed: int) -> Iterator[Drawn]:
        """Yield the rows that have cells to be filled, some at a time, with draws."""
        index = np.flatnonzero(rows.open.any(1))
        at_once = max(FEWEST_ROWS, CELLS_AT_ONCE // (num_draws * max(self.table.layout.width, 1)))
        # Weights far apart where there are more of them than draws. One model is visited again and
        # again: draws come of a few long chains then, and not of many that have all to start.
        count = min(num_draws, max(len(self.models), FEWEST_VISITS)) if self.models else 0
        chosen = np.linspace(0, len(self.models) - 1, count).round().astype(int)
        models = [self.models[k] for k in chosen]
        information = [self.posterior.information[k] for k in chosen]
        per_model = -(-num_draws // max(count, 1))
        for start in range(0, len(index), at_once):
            places = index[start : start + at_once]
            some = rows.some(places)
            latents = latent_draws(
                models, information, some.y, some.context, places, per_model, seed
            )
            yield Drawn(self, some, places, models, latents)

    def estimates(self, rows: Rows, num_draws: int, seed: int) -> Numbers:
        """Return the rows with posterior means in cells to be filled, of categories the mode."""
        filled = rows.numbers.copy()
        for drawn in self.drawn(rows, num_draws, seed):
            draws = drawn.completed(num_draws, seed)
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
        return filled

    def completions(self, rows: Rows, num_draws: int, seed: int) -> Numbers:
        """Return draws of the filled rows, (draws, n, columns)."""
        filled = np.repeat(rows.numbers[None], num_draws, 0)
        for drawn in self.drawn(rows, num_draws, seed):
            filled[:, drawn.index] = drawn.completed(num_draws, seed)
        return filled

    def quantiles(self, rows: Rows, shares: list[float], num_draws: int, seed: int) -> Numbers:
        """Return quantiles of cells to be filled, (shares, n, columns); others as they are."""
        filled = np.repeat(rows.numbers[None], len(shares), 0)
        for drawn in self.drawn(rows, num_draws, seed):
            draws = drawn.completed(num_draws, seed)
            # (m + 1) p: a further draw lies below with just that probability.
            filled[:, drawn.index] = np.quantile(draws, shares, axis=0, method="weibull")
        return filled

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
        return found

    def score(
        self, rows: Rows, complete: Rows, asked: NDArray[np.bool_], num_draws: int, seed: int
    ) -> float:
        """Return the mean log predictive density of cells that are hidden in ``rows``, nats."""
        found = [
            drawn.log_densities(complete.some(drawn.index))[asked[drawn.index]]
            for drawn in self.drawn(rows, num_draws, seed)
        ]
        return float(np.concatenate(found).mean())
