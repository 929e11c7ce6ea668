"""Normal scores of a column some of whose cells are known by limits alone."""

import numpy as np
from scipy.stats import norm

from .normal_scores import FURTHEST, NormalScores, knots
from .storage import Numbers

ITERATIONS = 500
TOLERANCE = 1e-8


def limited_scores(numbers: Numbers, below: Numbers, above: Numbers) -> NormalScores:
    """Return the map from a column to normal scores, censored cells counted where they may lie.

    The distribution of the column is its maximum-likelihood estimate without assumptions, by
    self-consistency (Turnbull 1976). What lies beyond all exact values is reached by the line
    through the column's quantiles (Helsel & Cohn 1988), of positive columns in logarithms.

    Parameters
    ----------
    numbers, below, above : array, (n,)
        Cells, and the limits below and above which censored ones lie.
    """
    is_low, is_high = ~np.isnan(below), ~np.isnan(above)
    exact = numbers[~np.isnan(numbers) & ~is_low & ~is_high]
    values, counts = np.unique(exact, return_counts=True)
    if len(values) < 2:
        raise ValueError(
            f"limits leave {len(values)} different exact values: a column needs at least two"
        )
    # Two places more: below and above all exact values.
    support = np.concatenate([[-np.inf], values, [np.inf]])
    lows, num_low = np.unique(below[is_low], return_counts=True)
    highs, num_high = np.unique(above[is_high], return_counts=True)
    may_lie = np.concatenate([support <= lows[:, None], support >= highs[:, None]])
    weights = np.concatenate([num_low, num_high]).astype(np.float64)
    fixed = np.concatenate([[0.0], counts, [0.0]])
    total = fixed.sum() + weights.sum()
    share = np.full(len(support), 1 / len(support))
    for _ in range(ITERATIONS):
        inside = may_lie * share
        spread = weights @ (inside / inside.sum(1, keepdims=True)) if len(weights) else 0.0
        new = (fixed + spread) / total
        done = np.abs(new - share).max() < TOLERANCE
        share = new
        if done:
            break
    # At least half a cell beyond the ends, as mid-ranks leave.
    cumulative = np.clip(share.cumsum()[1:-1] - 0.5 * share[1:-1], 0.5 / total, 1 - 0.5 / total)
    is_log = bool(values[0] > 0 and (lows > 0).all())
    chosen = knots(values, counts)
    y = np.log(values[chosen]) if is_log else values[chosen]
    scores = norm.ppf(cumulative[chosen])
    slope = np.polyfit(scores, y, 1)[0]
    ends = [y[0] - FURTHEST * slope], [y[-1] + FURTHEST * slope]
    y = np.concatenate([ends[0], y, ends[1]])
    scores = np.concatenate([[scores[0] - FURTHEST], scores, [scores[-1] + FURTHEST]])
    return NormalScores(y, scores, -np.inf, np.inf, is_log)
