"""EM for factor analysis: a sweep infers the latents, a sweep learns the loadings."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .incomplete_table import IncompleteTable
from .linear_gaussian import LinearGaussian, posterior
from .sweep_operator import Array, sweep

SMALLEST_NOISE = 1e-8
"""Smallest noise variance, as a share of the variance of the data: below it rounding rules."""

LARGEST_NOISE = 100.0
"""Largest noise variance that a leap may try, as such a share."""

LEAST_FIRST_NOISE = 0.05
"""Share of a column's variance that is noise to begin with, at least: EM is slow to leave 0."""

LONGEST_LEAP = 1e6
"""Longest leap, in iterations."""

ROUNDING = 1e-13
"""Relative gain in log-likelihood that is no more than rounding."""


class Fit(NamedTuple):
    """Where EM ended.

    Attributes
    ----------
    model : LinearGaussian
        In units of the table less its offset.
    log_likelihood : list of float
        Of all rows in nats, at the start and after each iteration.
    converged : bool
    collapsed : bool array, (D,)
        Where the noise variance is the smallest that it may be.
    """

    model: LinearGaussian
    log_likelihood: list[float]
    converged: bool
    collapsed: NDArray[np.bool_]


def fit(table: IncompleteTable, num_factors: int, isotropic: bool, tol: float, most: int) -> Fit:
    """Iterate from principal components until two iterations gain less than ``tol``.

    Parameters
    ----------
    table : IncompleteTable
    num_factors : int
        d, at most the number of columns.
    isotropic : bool
        One noise variance for all columns.
    tol : float
        Nats per example.
    most : int
        Largest number of iterations.

    Notes
    -----
    After every second iteration a leap in the direction of both is tried, and taken if it raises
    the likelihood: EM alone crawls where a noise variance goes to zero.

    References
    ----------
    Varadhan & Roland, "Simple and globally convergent methods for accelerating the convergence of
    any EM algorithm" (Scandinavian Journal of Statistics 2008), scheme S3.
    """
    n = table.shape[0]
    scale = _scale(table, isotropic)
    model = starting_model(table, num_factors, isotropic)
    expected, log_likelihood = expect(model, table)
    trace, converged = [log_likelihood], False
    path = [model]
    while not converged and len(trace) <= most:
        model = maximise(expected, table, isotropic)
        expected, log_likelihood = expect(model, table)
        path.append(model)
        if len(path) == 3:
            leap = _leap(path, scale)
            expected_there, log_likelihood_there = expect(leap, table)
            if log_likelihood_there > log_likelihood:
                model, expected, log_likelihood = leap, expected_there, log_likelihood_there
            converged = log_likelihood - trace[-2] <= max(tol * n, ROUNDING * abs(log_likelihood))
            path = [model]
        trace.append(log_likelihood)
    collapsed = model.noise_variance <= 1.001 * SMALLEST_NOISE * scale**2
    return Fit(model, trace, converged, collapsed)


def _leap(path: list[LinearGaussian], scale: Array) -> LinearGaussian:
    """Return where three successive models lead, were they to go on as they do."""
    first, second, third = (
        np.column_stack([m.mean / scale, m.loadings / scale[:, None], np.log(m.noise_variance)])
        for m in path
    )
    change = second - first
    bend = third - second - change
    step = float(np.linalg.norm(change))
    turn = max(float(np.linalg.norm(bend)), step / LONGEST_LEAP)
    length = step / turn if step > turn else 1.0
    there = first + 2 * length * change + length**2 * bend
    low, high = np.log(SMALLEST_NOISE * scale**2), np.log(LARGEST_NOISE * scale**2)
    return LinearGaussian(
        mean=there[:, 0] * scale,
        loadings=there[:, 1:-1] * scale[:, None],
        noise_variance=np.exp(np.clip(there[:, -1], low, high)),
    )


class ExpectedProducts(NamedTuple):
    """Cross-products that the posterior of the latents expects; of (1, z) with itself and with y.

    Attributes
    ----------
    latent : list of array, (q, 1 + d, 1 + d)
        Over the rows in which columns are observed, for each of the stacks of columns.
    cross : array, (1 + d, D)
        With each column, over the rows in which it is observed.
    """

    latent: list[Array]
    cross: Array


def expect(model: LinearGaussian, table: IncompleteTable) -> tuple[ExpectedProducts, float]:
    """Return the E-step's cross-products, and the log-likelihood of all rows in nats."""
    columns, d = model.loadings.shape
    latent = [np.zeros((len(stack.places), 1 + d, 1 + d)) for stack in table.columns]
    cross = np.zeros((1 + d, columns))
    log_likelihood = 0.0
    for rows in table.rows:
        found = posterior(model, rows)
        expanded = np.concatenate([np.ones_like(found.mean[..., :1]), found.mean], axis=-1)
        products = expanded.swapaxes(-1, -2) @ expanded  # (p, 1 + d, 1 + d)
        products[:, 1:, 1:] += rows.places.shape[1] * found.covariance
        for total, stack in zip(latent, table.columns, strict=True):
            seen = rows.seen[:, 0, stack.places[:, 0]].astype(np.float64)
            total += np.tensordot(seen.T, products, axes=1)
        cross += expanded.reshape(-1, 1 + d).T @ rows.values.reshape(-1, columns)
        log_likelihood += float(found.log_likelihood.sum())
    return ExpectedProducts(latent, cross), log_likelihood


def maximise(expected: ExpectedProducts, table: IncompleteTable, isotropic: bool) -> LinearGaussian:
    """Return the M-step's model: y regressed on (1, z), column by column, where it is observed."""
    size = len(expected.cross)
    coefficients = np.zeros((size, table.shape[1]))
    squares = np.zeros(table.shape[1])
    counts = np.zeros(table.shape[1])
    for stack, latent in zip(table.columns, expected.latent, strict=True):
        cross = expected.cross.T[stack.places]  # (q, c, 1 + d)
        above = np.concatenate([latent, cross.swapaxes(-1, -2)], axis=-1)
        below = np.concatenate([cross, stack.products], axis=-1)
        swept = sweep(np.concatenate([above, below], axis=-2), range(size))
        coefficients[:, stack.places] = np.moveaxis(swept[:, :size, size:], 1, 0)
        squares[stack.places] = swept.diagonal(axis1=-2, axis2=-1)[:, size:]
        counts[stack.places] = stack.num_rows
    if isotropic:
        noise = np.full_like(squares, squares.sum() / counts.sum())
    else:
        noise = np.where(counts > 0, squares / np.maximum(counts, 1), 1.0)
    return LinearGaussian(
        mean=coefficients[0],
        loadings=coefficients[1:].T,
        noise_variance=np.maximum(noise, SMALLEST_NOISE * _scale(table, isotropic) ** 2),
    )


def _scale(table: IncompleteTable, isotropic: bool) -> Array:
    """Return the unit that a column is measured in, (D,)."""
    variance = table.variance
    return np.sqrt(np.full_like(variance, variance.mean()) if isotropic else variance)


def starting_model(table: IncompleteTable, num_factors: int, isotropic: bool) -> LinearGaussian:
    """Return principal components to begin with, missing cells taken as their column's mean.

    With isotropic noise and nothing missing that is the maximum of the likelihood; with diagonal
    noise the components are those of the correlations.

    References
    ----------
    Tipping & Bishop, "Probabilistic principal component analysis" (1999), eq. 7 and 8.
    """
    n, columns = table.shape
    scale = _scale(table, isotropic)
    standardised = np.concatenate([rows.values.reshape(-1, columns) for rows in table.rows]) / scale
    _, singular, directions = np.linalg.svd(standardised, full_matrices=False)
    values = np.zeros(columns)
    values[: len(singular)] = singular**2 / n
    # Without a component left over, any noise below the smallest one does.
    noise = values[num_factors:].mean() if num_factors < columns else values[-1] / 2
    loadings = directions[:num_factors].T * np.sqrt(np.maximum(values[:num_factors] - noise, 0))
    if isotropic:
        noise_variance = np.full(columns, max(noise, SMALLEST_NOISE))
    else:
        noise_variance = np.maximum(1 - (loadings**2).sum(1), LEAST_FIRST_NOISE)
    return LinearGaussian(
        mean=np.zeros(columns),
        loadings=loadings * scale[:, None],
        noise_variance=noise_variance * scale**2,
    )
