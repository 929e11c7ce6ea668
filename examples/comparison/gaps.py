"""Cells that are hidden: at random, depending on other columns, as the table's own gaps are."""

import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import rankdata

Mask = NDArray[np.bool_]

SHARE = 0.3
"""Of the cells that are hidden, at random or depending on other columns."""


def at_random(frame: pd.DataFrame, noise: np.random.Generator) -> Mask:
    """Hide each cell with the same probability (missing completely at random)."""
    return np.asarray(noise.random(frame.shape) < SHARE)


def dependent(frame: pd.DataFrame, noise: np.random.Generator) -> Mask:
    """Hide cells with a probability that other cells of their row decide (missing at random).

    The columns are dealt into three groups, and so are the rows. A row keeps the columns of its
    group, and a sum of their ranks, with random signs, decides by a logistic law of slope two how
    likely each of its other cells is hidden. What decides is never hidden, so that the gaps can be
    ignored (Rubin 1976).
    """
    rows, columns = frame.shape
    ranks = _scores(frame)
    column_group = noise.permutation(np.arange(columns) % 3)
    row_group = noise.permutation(np.arange(rows) % 3)
    hidden = np.zeros(frame.shape, dtype=bool)
    for group in range(3):
        kept, chosen = column_group == group, row_group == group
        score = ranks[np.ix_(chosen, kept)] @ noise.choice([-1.0, 1.0], kept.sum())
        slope = 2 * score / max(score.std(), 1e-9)
        share = SHARE * columns / (columns - kept.sum())
        shift = brentq(lambda a, s=slope, p=share: expit(s + a).mean() - p, -50, 50)
        likely = expit(slope + shift)[:, None]
        hidden[chosen] = (noise.random((chosen.sum(), columns)) < likely) & ~kept
    return hidden


def as_real(frame: pd.DataFrame, noise: np.random.Generator) -> Mask:
    """Hide in each row what is missing in another row, picked at random.

    What is truly missing has no truth to compare with; the cells that are hidden follow its
    pattern: the same columns, as often, together as there.
    """
    return np.asarray(frame.isna())[noise.permutation(len(frame))]


GAPS: dict[str, Callable[[pd.DataFrame, np.random.Generator], Mask]] = {
    "random": at_random,
    "dependent": dependent,
    "real": as_real,
}


def hide(name: str, frame: pd.DataFrame, gaps: str, seed: int) -> tuple[pd.DataFrame, Mask]:
    """Return the frame with more gaps, and the cells that were hidden.

    Every row keeps a cell and every category one of its cells.

    Parameters
    ----------
    name : str
        Of the table: different tables have different gaps of one seed.
    frame : DataFrame, (n, D)
        May have gaps.
    gaps : str
        A name of `GAPS`.
    seed : int
        Of the gaps.

    Raises
    ------
    ValueError
        If the gaps are to be as real in a table without gaps.
    """
    present = frame.notna().to_numpy()
    if gaps == "real" and present.all():
        raise ValueError(f"gaps: {name} has none of its own, so they cannot be 'real'")
    noise = np.random.default_rng([seed, zlib.crc32(name.encode()), zlib.crc32(gaps.encode())])
    hidden = GAPS[gaps](frame, noise) & present
    for row in np.flatnonzero(~(present & ~hidden).any(1) & present.any(1)):
        hidden[row, noise.choice(np.flatnonzero(present[row]))] = False
    for j, column in enumerate(frame.columns):
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            codes = frame[column].cat.codes.to_numpy()
            for code in set(codes[present[:, j]]) - set(codes[present[:, j] & ~hidden[:, j]]):
                hidden[noise.choice(np.flatnonzero(codes == code)), j] = False
    return frame.mask(pd.DataFrame(hidden, frame.index, frame.columns)), hidden


def _scores(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the columns' standardised ranks, categories by their codes, gaps as zeros."""
    result = np.zeros(frame.shape)
    for j, name in enumerate(frame.columns):
        column = frame[name]
        values = column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
        present = column.notna().to_numpy()
        ranks = rankdata(values.to_numpy()[present])
        if len(ranks) and ranks.std():
            result[present, j] = (ranks - ranks.mean()) / ranks.std()
    return result
