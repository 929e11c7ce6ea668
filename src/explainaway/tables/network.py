"""The learned network of a table, and draws of rows by it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models import Gaussian, GeneratorModel
from .densities import cells_seen, column_log_densities, columns_of
from .draws import cell_densities, level_probabilities, log_mean_exp
from .row_chains import latent_draws
from .seeds import seed_of
from .storage import Numbers
from .table import Rows, Table

LEAST_INFORMATION = 0.02

TOGETHER = 64
"""Rows whose noise is drawn at once."""


@dataclass(frozen=True)
class Network:
    """A learned model of a table, which fills in rows.

    Attributes
    ----------
    table : Table
    model : GeneratorModel
    information : Tensor, (outputs,)
        Fisher information of a cell on each output, in the mean.
    """

    table: Table
    model: GeneratorModel
    information: Tensor

    @staticmethod
    def of(
        table: Table,
        model: GeneratorModel,
        y: Tensor,
        context: dict[str, Tensor] | None,
        latents: Tensor,
    ) -> "Network":
        """Return a learned model with its cells' information.

        Parameters
        ----------
        y : Tensor, (n, columns of the model)
            The table, NaN where hidden.
        context : dict of Tensor, optional
            Its limits.
        latents : Tensor, (n, d)
            A draw of the rows' latents.
        """
        model = model.eval()
        output = model.network(latents).detach().requires_grad_()
        density = column_log_densities(model, output, y, context).sum()
        (slope,) = torch.autograd.grad(density, output)
        seen = cells_seen(model, y, context).sum(0).clamp(min=1)
        information = ((slope**2).sum(0) / seen).clamp(min=LEAST_INFORMATION)
        columns = columns_of(model)
        for group, kind in zip(columns.groups, columns.kinds, strict=True):
            if type(kind) is Gaussian and kind.inverse_link is None:
                information[group.outputs] = kind.scale.detach() ** -2.0
        return Network(table, model, information)

    def drawn(
        self, rows: Rows, ids: NDArray[np.int64], num_draws: int, seed: int
    ) -> "NetworkDraws":
        """Return draws of rows.

        Parameters
        ----------
        ids : array, (n,)
            Numbers of the rows, by which they have random numbers of their own.
        """
        latents = latent_draws(
            self.model, self.information, rows.y, rows.context, ids, num_draws, seed
        )
        return NetworkDraws(self, rows, latents, self._cells(rows, ids, latents, seed))

    def _cells(self, rows: Rows, ids: NDArray[np.int64], latents: Tensor, seed: int) -> Numbers:
        """Return draws of the model's cells given latents, (draws, n, columns).

        A row's noise depends on its number alone: rows are drawn in blocks that always have as
        many places, taken by a row or not.
        """
        blocks, places = np.divmod(ids, TOGETHER)
        found = np.empty((len(latents), *rows.y.shape), dtype=rows.y.numpy().dtype)
        for block in np.unique(blocks):
            here = np.flatnonzero(blocks == block)
            taken = np.full(TOGETHER, here[0])
            taken[places[here]] = here
            some = rows.some(taken)
            cells = self.model.impute(
                some.y, latents[:, taken], seed=seed_of(int(block), seed), context=some.context
            )
            found[:, here] = cells[:, places[here]].numpy()
        return found


@dataclass(frozen=True)
class NetworkDraws:
    """Draws of rows.

    Attributes
    ----------
    network : Network
    rows : Rows
    latents : Tensor, (draws, n, d)
    cells : array, (draws, n, columns of the model)
    """

    network: Network
    rows: Rows
    latents: Tensor
    cells: Numbers

    def completed(self) -> Numbers:
        """Return the numbers of the rows' cells, (draws, n, columns), drawn where open."""
        table, rows = self.network.table, self.rows
        filled = np.repeat(rows.numbers[None], len(self.cells), 0)
        for column in range(len(table.models)):
            hidden = rows.open[:, column]
            if hidden.any():
                drawn = table.decode(column, self.cells, rows)
                filled[..., hidden, column] = drawn[:, hidden]
        return filled

    def probabilities(self, column: int) -> Numbers:
        """Return those of a column's levels, (n, levels)."""
        table = self.network.table
        levels, (place,) = table.models[column].levels, table.layout.places[column]
        assert levels is not None
        return level_probabilities(self.network.model, self.latents, place, len(levels))

    def log_densities(self, of: Rows) -> Numbers:
        """Return log predictive densities of these rows' cells, (n, columns), in their own units.

        Parameters
        ----------
        of : Rows
            The same rows with the cells that were hidden.
        """
        table = self.network.table
        by_cell = cell_densities(self.network.model, self.latents, of.y, of.context)
        densities = by_cell.double().numpy()
        columns = [
            log_mean_exp(densities[..., places].sum(-1)) + model.log_slope(of.numbers[:, column])
            for column, (places, model) in enumerate(
                zip(table.layout.places, table.models, strict=True)
            )
        ]
        return np.stack(columns, 1)
