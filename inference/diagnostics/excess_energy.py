"""Examples that a model explains far worse than all others."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

FEWEST_EXAMPLES = 20
"""Without so many others nothing is usual."""

FAR = 1000.0
"""Spreads above the median. Examples may differ: one with all of its cells observed, among others
with a twentieth, is some hundreds above them. Beyond is a mistake in the data, or a place that no
chain should be in: that all chains of an example agree on it does not show in r-hat."""


def excess_energy(lp: Float[Tensor, "chains draws n"]) -> NDArray[np.float64]:
    """Return each example's energy above the median one, in spreads between examples, (n,).

    A spread is 1.48 times the median absolute deviation, the standard deviation of normal numbers,
    and at least a nat. NaN of fewer than 20 examples, and where an energy is not finite.
    """
    energy = -lp.detach().double().mean((0, 1)).cpu().numpy()
    usual = energy[np.isfinite(energy)]
    if len(usual) < FEWEST_EXAMPLES:
        return np.full(len(energy), np.nan)
    median = np.median(usual)
    spread = max(1.0, 1.4826 * float(np.median(np.abs(usual - median))))
    excess: NDArray[np.float64] = np.where(np.isfinite(energy), (energy - median) / spread, np.nan)
    return excess
