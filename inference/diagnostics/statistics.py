"""Convergence statistics of every example's variables, over the chains that can be used."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from .convergence import rhat_and_ess
from .disagreement import between_chains, limit_between_chains

FEWEST = 4
"""Draws of a chain from which on there are r-hat and ESS."""

READ_AT_ONCE = 4_000_000
"""Values that are read at once, about."""

Read = Callable[[slice], Tensor]
"""From some examples, k of n, to variables of theirs: (chains, draws, k, q)."""


class Statistics(NamedTuple):
    """R-hat, effective sample size and ratio of variances of each example's variables, (n, q).

    Attributes
    ----------
    rhat, ess, ratio : array, (n, q)
        As :func:`rhat_and_ess` and :func:`between_chains` return them; NaN without chains.
    num_chains : array, (n,)
        Chains that were used.
    num_draws : int
        Of each.
    """

    rhat: NDArray[np.float64]
    ess: NDArray[np.float64]
    ratio: NDArray[np.float64]
    num_chains: NDArray[np.int64]
    num_draws: int

    def columns(self, some: slice) -> "Statistics":
        """Return those of some variables."""
        return self._replace(
            rhat=self.rhat[:, some], ess=self.ess[:, some], ratio=self.ratio[:, some]
        )

    def share_of_limit(self, num_values: int, chance: float) -> NDArray[np.float64]:
        """Return each example's largest ratio as a share of what chance explains, (n,)."""
        if self.num_draws < FEWEST:
            return np.full(len(self.ratio), np.nan)
        limits = {
            int(c): limit_between_chains(int(c), self.num_draws, num_values, chance)
            for c in np.unique(self.num_chains)
        }
        limit = np.array([limits[int(c)] for c in self.num_chains])
        share: NDArray[np.float64] = np.fmax.reduce(self.ratio, axis=1, initial=np.nan) / limit
        return share


def statistics_of(
    values: Float[Tensor, "chains draws n q"], usable: Bool[Tensor, "chains n"]
) -> Statistics:
    """Return the statistics of each example over the chains that are usable, NaN of few draws."""
    _, num_draws, n, q = values.shape
    rhat, ess, ratio = (np.full((n, q), np.nan) for _ in range(3))
    for pattern in usable.T.unique(dim=0):
        if num_draws < FEWEST or not pattern.any():
            continue
        examples = (pattern == usable.T).all(1)
        some = values[pattern][:, :, examples]
        found = rhat_and_ess(some)
        chosen = examples.cpu().numpy()
        ess[chosen] = found[1].cpu().numpy()
        ratio[chosen] = between_chains(some).cpu().numpy()
        if pattern.sum() > 1:
            rhat[chosen] = found[0].cpu().numpy()
    return Statistics(rhat, ess, ratio, usable.sum(0).cpu().numpy(), num_draws)


def statistics_read(read: Read, usable: Bool[Tensor, "chains n"]) -> Statistics:
    """Return the statistics of what is read, some examples after others."""
    n = usable.shape[1]
    first = read(slice(0, 1))
    size = max(1, READ_AT_ONCE // first.numel())
    found = []
    for begin in range(0, n, size):
        some = slice(begin, min(begin + size, n))
        found.append(statistics_of(read(some), usable[:, some].cpu()))
    rhat, ess, ratio, num_chains = (
        np.concatenate(parts) for parts in zip(*(one[:4] for one in found), strict=True)
    )
    return Statistics(rhat, ess, ratio, num_chains, first.shape[1])
