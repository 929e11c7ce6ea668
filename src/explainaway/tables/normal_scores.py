"""Numbers as normal scores: a monotone map from a column to the standard normal, and its slope."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from .storage import Numbers

CELLS_BETWEEN_KNOTS = 8
"""Fewer give a density that follows single cells, many more one that is flat within."""

FURTHEST = 6.0
"""Scores are cut there: a cell far beyond all others would say nothing but how far it is."""


@dataclass(frozen=True)
class NormalScores:
    """A piecewise linear map from numbers to normal scores with mean 0 and variance 1.

    The knots are some of the observed values with the normal quantiles of their mid-ranks; beyond
    them the map goes on as it ends. Its density is exact: where s is the score of y,
    ``p(y) = p(s) ds/dy``.

    Attributes
    ----------
    values, scores : array, (knots,)
        Increasing.
    lowest, highest : float
        Values that are drawn lie between these: the least and the greatest that were observed.
    is_log : bool
        Whether the map is one of logarithms; ``values`` are logarithms then.
    """

    values: Numbers
    scores: Numbers
    lowest: float
    highest: float
    is_log: bool = False

    @staticmethod
    def of(observed: Numbers) -> "NormalScores":
        """Return the map of a column's observed cells, at least two different ones."""
        values, inverse = np.unique(observed, return_inverse=True)
        ranks = rankdata(observed)
        quantiles = np.empty(len(values))
        quantiles[inverse] = norm.ppf((ranks - 0.5) / len(observed))
        chosen = knots(values, np.bincount(inverse))
        scores = quantiles[chosen]
        cells = np.interp(observed, values[chosen], scores)
        scores = (scores - cells.mean()) / cells.std()
        return NormalScores(values[chosen], scores, float(values[0]), float(values[-1]))

    def to_scores(self, values: Numbers) -> Numbers:
        """Return the scores of values, NaN where those are."""
        return np.clip(self.extended_scores(values), -FURTHEST, FURTHEST)

    def to_values(self, scores: Numbers) -> Numbers:
        """Return the values of scores, within the range of the observed ones."""
        return np.clip(self.extended_values(scores), self.lowest, self.highest)

    def extended_scores(self, values: Numbers) -> Numbers:
        """Return the scores of values, however far out."""
        return _extended(self._at(values), self.values, self.scores)

    def extended_values(self, scores: Numbers) -> Numbers:
        """Return the values of scores, beyond the observed ones by the slopes of the ends."""
        values = _extended(scores, self.scores, self.values)
        return np.exp(values) if self.is_log else values

    def log_slope(self, values: Numbers) -> Numbers:
        """Return ``log ds/dy`` at values: what a log density of scores is more by."""
        at = self._at(values)
        place = np.clip(np.searchsorted(self.values, at) - 1, 0, len(self.values) - 2)
        slopes = np.diff(self.scores) / np.diff(self.values)
        found = np.log(slopes[place]) - (at if self.is_log else 0.0)
        return np.where(np.isnan(values), np.nan, found)

    def _at(self, values: Numbers) -> Numbers:
        return np.log(np.maximum(values, np.finfo(np.float64).tiny)) if self.is_log else values


def spiked_scores(
    observed: Numbers, spikes: Numbers
) -> tuple[NormalScores, list[tuple[float, float]]]:
    """Return the map of what is not one of some values, and the intervals that those have.

    Parameters
    ----------
    observed : array, (n,)
        Cells of a column.
    spikes : array
        Values, each in some of them, beyond all others; at least two others occur.
    """
    rest = observed[~np.isin(observed, spikes)]
    values, counts = np.unique(rest, return_counts=True)
    below = np.searchsorted(np.sort(observed), values)
    scores = norm.ppf((below + 0.5 * counts) / len(observed))
    chosen = knots(values, counts)
    shares = [((observed < spike).mean(), (observed <= spike).mean()) for spike in spikes]
    intervals = [(float(norm.ppf(low)), float(norm.ppf(high))) for low, high in shares]
    ends = float(values[0]), float(values[-1])
    return NormalScores(values[chosen], scores[chosen], *ends), intervals


def knots(values: Numbers, counts: np.ndarray) -> np.ndarray:
    """Return which values are knots: the ends, and between them one in so many cells."""
    chosen, since = [0], 0
    for place in range(1, len(values) - 1):
        since += int(counts[place])
        if since >= CELLS_BETWEEN_KNOTS:
            chosen.append(place)
            since = 0
    if since < CELLS_BETWEEN_KNOTS / 2 and len(chosen) > 1:
        chosen.pop()
    return np.array([*chosen, len(values) - 1])


def _extended(at: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """Interpolate linearly, beyond the ends by the slope of the last piece."""
    inside = np.interp(at, x, y)
    below, above = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    found: Numbers = np.where(at < x[0], y[0] + below * (at - x[0]), inside)
    return np.where(at > x[-1], y[-1] + above * (at - x[-1]), found)
