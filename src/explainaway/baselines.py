"""Classical ways to fill missing cells, tuned as well as they can be: what there is to beat."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import KNNImputer

Array = NDArray[np.float64]
Impute = Callable[[Array, Array], tuple[Array, Array]]


class IncompletePCA(NamedTuple):
    """Probabilistic PCA fitted to a table with missing cells.

    Attributes
    ----------
    loadings : array, (columns, rank + 1)
        The last column is the mean.
    noise_variance : float
        Variance of the noise.
    """

    loadings: Array
    noise_variance: float

    def impute(self, table: Array) -> Array:
        """Return the conditional mean of every cell given the observed ones of its row."""
        mean, _ = _latent_moments(self, np.isnan(table), np.nan_to_num(table))
        return mean @ self.loadings.T


def fit_incomplete_pca(
    table: Array, rank: int, iterations: int = 100, seed: int = 0
) -> IncompletePCA:
    """Fit probabilistic PCA by EM, the missing cells (NaN) integrated out.

    Parameters
    ----------
    table : array, (rows, columns)
        NaN where missing.
    rank : int
        Number of components.
    iterations : int, default 100
        EM iterations.
    seed : int, default 0
        Of the starting loadings.

    References
    ----------
    Tipping & Bishop, "Probabilistic principal component analysis" (1999), section 3.3; the mean is
    the loading of a constant latent.
    """
    hidden, filled = np.isnan(table), np.nan_to_num(table)
    seen = ~hidden
    columns = table.shape[1]
    rng = np.random.default_rng(seed)
    mean = filled.sum(0) / np.maximum(seen.sum(0), 1)
    variance = float(((filled - mean) ** 2)[seen].mean())
    loadings = np.c_[rng.normal(scale=0.1, size=(columns, rank)), mean]
    model = IncompletePCA(loadings, variance)
    for _ in range(iterations):
        z, zz = _latent_moments(model, hidden, filled)
        # (columns, rank+1, rank+1): normal equations of each column over the rows that have it
        gram = np.tensordot(seen.T.astype(float), zz, axes=1)
        gram += 1e-6 * np.eye(rank + 1)
        loadings = np.linalg.solve(gram, (filled.T @ z)[:, :, None])[:, :, 0].astype(np.float64)
        # E[(y - w'z)²] of every cell
        outer = (loadings[:, :, None] * loadings[:, None, :]).reshape(columns, -1)
        squares = filled**2 - 2 * filled * (z @ loadings.T) + zz.reshape(len(zz), -1) @ outer.T
        model = IncompletePCA(loadings, float(squares[seen].mean()))
    return model


def _latent_moments(
    model: IncompletePCA, hidden: NDArray[np.bool_], filled: Array
) -> tuple[Array, Array]:
    """Return E[z] (rows, rank+1) and E[zz'] of each row; the last component is the constant 1."""
    weights, mean = model.loadings[:, :-1], model.loadings[:, -1]
    seen = (~hidden).astype(float)
    rank = weights.shape[1]
    outer = (weights[:, :, None] * weights[:, None, :]).reshape(-1, rank * rank)
    precision = (seen @ outer).reshape(-1, rank, rank) / model.noise_variance + np.eye(rank)
    covariance = np.linalg.inv(precision)
    right = ((filled - mean) * seen) @ weights / model.noise_variance
    z = np.einsum("nij,nj->ni", covariance, right)
    z1 = np.c_[z, np.ones(len(z))]
    zz = z1[:, :, None] * z1[:, None, :]
    zz[:, :rank, :rank] += covariance
    return z1, zz


def impute_by_mean(train: Array, test: Array) -> tuple[Array, Array]:
    """Return every cell's prediction by its column's observed mean."""
    mean = np.nanmean(train, 0)
    return np.broadcast_to(mean, train.shape), np.broadcast_to(mean, test.shape)


def impute_by_pca(rank: int) -> Impute:
    """Return an imputer by probabilistic PCA of a rank, clipped to the range of the data."""

    def impute(train: Array, test: Array) -> tuple[Array, Array]:
        model = fit_incomplete_pca(train, rank)
        low, high = np.nanmin(train), np.nanmax(train)
        return model.impute(train).clip(low, high), model.impute(test).clip(low, high)

    return impute


def impute_by_neighbours(num_neighbours: int) -> Impute:
    """Return an imputer by the mean of the nearest rows that have the cell."""

    def impute(train: Array, test: Array) -> tuple[Array, Array]:
        imputer = KNNImputer(n_neighbors=num_neighbours, keep_empty_features=True)
        return imputer.fit_transform(train), imputer.transform(test)

    return impute


def tune(
    make: Callable[[int], Impute], settings: Sequence[int], train: Array, seed: int, folds: int = 3
) -> int:
    """Return the setting with the least square error on observed cells that were held out.

    A tenth of the observed cells is held out, ``folds`` times over.
    """
    # A stream of its own: the holes may have been drawn from the seed itself.
    rng = np.random.default_rng([seed, 1])
    held_out = [~np.isnan(train) & (rng.random(train.shape) < 0.1) for _ in range(folds)]
    losses = []
    for setting in settings:
        impute, total = make(setting), 0.0
        for cells in held_out:
            reduced = np.where(cells, np.nan, train)
            filled, _ = impute(reduced, reduced[:1])
            total += float(((filled - train)[cells] ** 2).sum())
        losses.append(total)
    return settings[int(np.argmin(losses))]
