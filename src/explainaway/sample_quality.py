"""How near generated examples are to real ones, by distances between their features."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import pairwise_distances

Array = NDArray[np.float64]


class SampleQuality(NamedTuple):
    """Measures of generated examples against real ones.

    Attributes
    ----------
    mmd : float
        Square of the maximum mean discrepancy, without bias; 0 for the same distribution.
    precision : float
        Share of the generated that lie where real ones do.
    recall : float
        Share of the real that lie where generated ones do.
    density : float
        How many real neighbourhoods a generated one lies in, 1 expected for the same distribution.
    coverage : float
        Share of the real with a generated one in their neighbourhood.
    """

    mmd: float
    precision: float
    recall: float
    density: float
    coverage: float


def sample_quality(real: ArrayLike, made: ArrayLike, neighbours: int = 5) -> SampleQuality:
    """Compare generated with real examples.

    Parameters
    ----------
    real : array, (n, features)
        Features of real examples that nothing has learned from.
    made : array, (m, features)
        The same features of generated ones.
    neighbours : int, default 5
        The neighbourhood of an example reaches to its so-manieth nearest one of its own kind.

    Returns
    -------
    SampleQuality

    Raises
    ------
    ValueError
        If the features differ in number, or there are not more examples than neighbours.

    Notes
    -----
    Precision, recall, density and coverage of as many examples of the same distribution are not 1,
    but for density in expectation: put real examples in the place of the generated ones to see
    what can be reached. The discrepancy's kernel is Gaussian, as wide as the median distance
    between real examples.

    References
    ----------
    Gretton et al., "A kernel two-sample test" (JMLR 2012), lemma 6; Kynkäänniemi et al., "Improved
    precision and recall metric for assessing generative models" (2019); Naeem et al., "Reliable
    fidelity and diversity metrics for generative models" (ICML 2020).
    """
    true, new = np.asarray(real, dtype=np.float64), np.asarray(made, dtype=np.float64)
    if true.ndim != 2 or new.ndim != 2 or true.shape[1] != new.shape[1]:
        raise ValueError(
            "real and made must be tables with the same features, got shapes "
            f"{true.shape} and {new.shape}"
        )
    if not 1 <= neighbours < min(len(true), len(new)):
        raise ValueError(
            f"neighbours must lie between 1 and the number of examples less one, "
            f"{min(len(true), len(new)) - 1}, got {neighbours}"
        )
    among_true, among_new = pairwise_distances(true), pairwise_distances(new)
    between = pairwise_distances(true, new)
    reach_true, reach_new = _reach(among_true, neighbours), _reach(among_new, neighbours)
    within = between < reach_true[:, None]
    return SampleQuality(
        mmd=_discrepancy(among_true, among_new, between),
        precision=float(within.any(0).mean()),
        recall=float((between < reach_new).any(1).mean()),
        density=float(within.sum(0).mean() / neighbours),
        coverage=float(within.any(1).mean()),
    )


def _reach(distances: Array, neighbours: int) -> Array:
    """Return each example's distance to its k-th neighbour; it is itself the 0-th."""
    return np.partition(distances, neighbours, axis=1)[:, neighbours]


def _discrepancy(among_true: Array, among_new: Array, between: Array) -> float:
    pairs = among_true[np.triu_indices(len(among_true), 1)]
    width = 2 * np.median(pairs) ** 2

    def mean_of_others(distances: Array) -> float:
        kernel = np.exp(-(distances**2) / width)
        return float((kernel.sum() - len(kernel)) / (len(kernel) * (len(kernel) - 1)))

    across = float(np.exp(-(between**2) / width).mean())
    return mean_of_others(among_true) + mean_of_others(among_new) - 2 * across
