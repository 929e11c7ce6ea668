"""Whether the chains that draw a normal model have mixed, by the cells that they draw."""

from collections.abc import Hashable, Iterable, Mapping
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.ops.stats import split_gelman_rubin
from sklearn.exceptions import ConvergenceWarning

from .storage import Numbers
from .table import Table
from .warned import warn

SLOW = 1.6
"""Split R̂ from which on a chain is warned of: of forty independent draws one in a million."""


def r_hats(draws: Numbers, asked: NDArray[np.bool_], table: Table) -> dict[Hashable, float]:
    """Return how far halves of a chain differ, the largest split R̂ for each column.

    It is that of the mean and the deviation of the drawn cells, of labels the share of each: what
    is looked at in plots of mice's chains (van Buuren & Groothuis-Oudshoorn 2011).

    Parameters
    ----------
    draws : array, (draws, n, columns)
        In the order of the chain.
    asked : bool array, (n, columns)
        Which cells were drawn.

    References
    ----------
    Gelman & Rubin, "Inference from iterative simulation using multiple sequences" (1992).
    """
    found = {}
    for column in np.flatnonzero(asked.any(0)).tolist():
        cells = draws[:, asked[:, column], column]
        if table.storages[column].is_number:
            traces = np.stack([cells.mean(1), cells.std(1)])
        else:
            traces = np.stack([(cells == level).mean(1) for level in np.unique(cells)])
        # A trace that never moves says nothing.
        moving = torch.as_tensor(traces[np.ptp(traces, axis=1) > 0])
        if len(moving):
            chains = moving[:, None].transpose(0, 2)
            found[table.names[column]] = float(split_gelman_rubin(chains, 1, 0).max())
    return found


def warn_if_slow(found: Iterable[Mapping[Hashable, float]], epochs: int) -> None:
    """Warn of columns of which some chain has not mixed."""
    largest: dict[Hashable, float] = {}
    for name, r_hat in chain.from_iterable(each.items() for each in found):
        largest[name] = max(r_hat, largest.get(name, 0.0))
    slow = sorted((name for name in largest if largest[name] > SLOW), key=largest.__getitem__)
    if slow:
        others = f", and over {SLOW} for {slow[:-1]}" if slow[1:] else ""
        warn(
            f"halves of a chain of drawn cells differ: split R-hat is {largest[slow[-1]]:.2g} for "
            f"column {slow[-1]!r}{others}, where about 1 is right. Draws and intervals of such "
            f"columns may be off: epochs={2 * epochs} instead of {epochs} makes the chain twice as "
            "long",
            ConvergenceWarning,
        )
