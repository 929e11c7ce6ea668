"""A linear model with drawn weights beside a learned network: in which shares."""

from dataclasses import dataclass, replace

import numpy as np

from .fitted import FittedTable
from .learning import Learning
from .limits import Limits
from .storage import Numbers
from .table import Rows, Table
from .table_model import table_model
from .weights import Posterior, WeightDraws, as_learned

HIDDEN_SHARE = 0.15
"""Of the observed cells, by which the shares are found."""

NUM_DRAWS = 80

SHARES = np.linspace(0, 1, 21)

WORST = -1e6
"""Log density of a cell that a model takes for impossible, nats."""


@dataclass(frozen=True)
class Candidates:
    """How the two models of a table are made.

    Attributes
    ----------
    latent_dim : int
        Number of latent components of each.
    hidden : tuple of int
        Widths of the network's layers.
    learning : Learning
        Of the network.
    draws : WeightDraws
        Of the linear model.
    seed : int
        Of everything.
    """

    latent_dim: int
    hidden: tuple[int, ...]
    learning: Learning
    draws: WeightDraws
    seed: int

    def curved(self, table: Table, rows: Rows) -> Posterior:
        """Return the network as it is learned."""
        some = rows.some(np.flatnonzero(rows.say_something()))
        model = table_model(table.layout, self.latent_dim, self.hidden, self.seed)
        latents = self.learning.learn(model, some.y, some.context, len(table.models), self.seed)
        return as_learned(model, some.y, some.context, latents)

    def linear(self, table: Table, rows: Rows) -> Posterior:
        """Return the linear model with draws of its weights."""
        some = rows.some(np.flatnonzero(rows.say_something()))
        model = table_model(table.layout, self.latent_dim, (), self.seed, is_linear=True)
        return self.draws.draw(model, some.y, some.context, self.seed)

    def share_of_linear(self, table: Table, complete: Rows, limits: Limits) -> float:
        """Return with which share of the linear model hidden cells are predicted best.

        Some observed cells are hidden, both models are made of the others, and the share is that of
        the mixture of their predictive densities under which the hidden cells are most probable
        (stacking: Yao, Vehtari, Simpson & Gelman 2018), or a larger one that is as good as far as
        they can tell.

        Parameters
        ----------
        complete : Rows
            The table.
        limits : mapping
            As they were given.
        """
        cells = np.argwhere(complete.known(table.layout) & ~complete.open)
        order = np.random.default_rng(self.seed).permutation(len(cells))
        chosen = cells[order[: round(HIDDEN_SHARE * len(cells))]]
        if len(chosen) == 0:
            return 1.0
        hidden = np.zeros_like(complete.open)
        hidden[tuple(chosen.T)] = True
        rows = table.rows(complete.numbers, np.isnan(complete.numbers), limits, hidden)
        found = [
            self._densities(FittedTable(table, made), rows, complete, hidden)
            for made in (self.linear(table, rows), self.curved(table, rows))
        ]
        return largest_good_share(*found)

    def stacked(self, table: Table, rows: Rows, share: float) -> Posterior:
        """Return both models, each as often as its share says, none that has no share."""
        number = round(share * self.draws.number)
        others = self.draws.number - number
        parts = []
        if number:
            draws = replace(self, draws=replace(self.draws, number=number))
            parts += list(zip(*draws.linear(table, rows), strict=True))
        if others:
            parts += list(zip(*self.curved(table, rows), strict=True)) * others
        # In turn, so that a few of them are of both.
        order = np.argsort(
            [*np.arange(number) / max(number, 1), *np.arange(others) / max(others, 1)]
        )
        models, information = zip(*(parts[k] for k in order), strict=True)
        return Posterior(list(models), list(information))

    def _densities(
        self, fitted: FittedTable, rows: Rows, complete: Rows, asked: np.ndarray
    ) -> Numbers:
        """Return the log predictive densities of hidden cells."""
        found = [
            drawn.log_densities(complete.some(drawn.index))[asked[drawn.index]]
            for drawn in fitted.drawn(rows, NUM_DRAWS, self.seed)
        ]
        # What cannot be computed is as bad as what cannot be.
        densities: Numbers = np.nan_to_num(np.concatenate(found), nan=WORST, neginf=WORST)
        return densities


def largest_good_share(first: Numbers, second: Numbers) -> float:
    """Return the largest share of the first of two models that is no worse than the best.

    Parameters
    ----------
    first, second : array, (cells,)
        Log predictive densities of the same cells.

    Returns
    -------
    float
        The mixture's mean log density is within a standard error of the best mixture's (the rule of
        Breiman, Friedman, Olshen & Stone 1984).
    """
    with np.errstate(divide="ignore"):
        mixed = np.logaddexp(np.log(SHARES)[:, None] + first, np.log1p(-SHARES)[:, None] + second)
    best = mixed[mixed.sum(1).argmax()]
    short = best - mixed
    good = short.sum(1) <= short.std(1) * np.sqrt(short.shape[1])
    return float(SHARES[np.flatnonzero(good)[-1]])
