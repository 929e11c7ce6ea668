"""A linear dynamical system of incomplete sequences by EM: Kalman filter and smoother."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class States(NamedTuple):
    """Beliefs of the states of one sequence.

    Attributes
    ----------
    mean : array, (T, d)
        Of each state.
    covariance : array, (T, d, d)
        Of each state.
    lagged : array, (T - 1, d, d)
        Covariance of each state with the one before; empty for a filter.
    """

    mean: Array
    covariance: Array
    lagged: Array


class LinearDynamicalSystem(NamedTuple):
    """``y_t = mean + C z_t + noise``, ``z_t = A z_{t-1} + Q^{1/2} ε``.

    Attributes
    ----------
    loadings : array, (columns, d)
        C.
    mean : array, (columns,)
        Of y.
    noise_variance : float
        Of each cell, in squares of y's unit.
    transition, innovation : array, (d, d)
        A and Q.
    start : array, (d, d)
        Covariance of the first state, whose mean is zero.
    """

    loadings: Array
    mean: Array
    noise_variance: float
    transition: Array
    innovation: Array
    start: Array

    def filter(self, table: Array) -> States:
        """Return what is known of each state from the rows up to its own.

        Parameters
        ----------
        table : array, (T, columns)
            NaN where missing.

        Returns
        -------
        States
        """
        precision, information = self._told(table)
        return _filtered(self, precision, information)

    def smooth(self, table: Array) -> States:
        """Return what is known of each state from all rows (T, columns), NaN where missing."""
        known = self.filter(table)
        means, covariances = known.mean.copy(), known.covariance.copy()
        lagged = np.empty((len(table) - 1, *covariances.shape[1:]))
        for t in range(len(table) - 2, -1, -1):
            ahead = self.transition @ known.covariance[t] @ self.transition.T + self.innovation
            gain = np.linalg.solve(ahead, self.transition @ known.covariance[t]).T
            means[t] += gain @ (means[t + 1] - self.transition @ known.mean[t])
            covariances[t] += gain @ (covariances[t + 1] - ahead) @ gain.T
            lagged[t] = covariances[t + 1] @ gain.T
        return States(means, covariances, lagged)

    def decode(self, states: Array) -> Array:
        """Return the rows (..., columns) of states (..., d), without noise."""
        return states @ self.loadings.T + self.mean

    def impute(self, table: Array) -> Array:
        """Return the conditional mean of the signal of every row, given all that was seen."""
        return self.decode(self.smooth(table).mean)

    def forecast(self, states: Array, steps: int) -> Array:
        """Return the means of the rows that follow states (..., d): (..., steps, columns)."""
        ahead = []
        for _ in range(steps):
            states = states @ self.transition.T
            ahead.append(states)
        return self.decode(np.stack(ahead, -2))

    def _told(self, table: Array) -> tuple[Array, Array]:
        """Return what each row alone tells of its state, in the information form."""
        seen = ~np.isnan(table)
        dim = self.loadings.shape[1]
        if seen.all():
            precision = np.tile(self.loadings.T @ self.loadings, (len(table), 1, 1))
        else:
            outer = (self.loadings[:, :, None] * self.loadings[:, None, :]).reshape(-1, dim * dim)
            precision = (seen.astype(float) @ outer).reshape(-1, dim, dim)
        residual = np.where(seen, table - self.mean, 0.0)
        return precision / self.noise_variance, residual @ self.loadings / self.noise_variance


def fit_linear_dynamical_system(
    table: Array, dim: int, iterations: int = 30, prior_states: float = 0.0
) -> LinearDynamicalSystem:
    """Fit a linear dynamical system by EM, the missing cells integrated out.

    Parameters
    ----------
    table : array, (T, columns)
        One sequence, NaN where missing. Every column must have been seen.
    dim : int
        Components of a state, d.
    iterations : int, default 30
        Of EM; 0 is Doretto's closed form, of what interpolation in time fills.
    prior_states : float, default 0
        Draws A towards zero, as so many more states would in which nothing is told of the next.

    Returns
    -------
    LinearDynamicalSystem

    Raises
    ------
    ValueError
        If ``dim`` does not lie between 1 and T - 1, ``prior_states`` is negative, or a column was
        never seen.

    References
    ----------
    Shumway & Stoffer, "An approach to time series smoothing and forecasting using the EM
    algorithm" (1982). The start: Doretto, Chiuso, Wu & Soatto, "Dynamic textures" (2003).
    """
    if not 1 <= dim < len(table):
        raise ValueError(
            f"dim must lie between 1 and the number of rows less one, {len(table) - 1}, got {dim}"
        )
    if not prior_states >= 0:
        raise ValueError(f"prior_states must not be negative, got {prior_states}")
    hidden = np.isnan(table)
    seen, filled = (~hidden).astype(float), np.nan_to_num(table)
    model = _started(interpolate_in_time(table), dim, prior_states)
    for _ in range(iterations):
        states = model.smooth(table)
        mean = np.c_[states.mean, np.ones(len(table))]
        square = mean[:, :, None] * mean[:, None, :]
        square[:, :dim, :dim] += states.covariance
        gram = np.tensordot(seen.T, square, axes=1) + 1e-9 * np.eye(dim + 1)
        weights: Array = np.linalg.solve(gram, (filled.T @ mean)[:, :, None])[:, :, 0]
        outer = (weights[:, :, None] * weights[:, None, :]).reshape(len(weights), -1)
        misfit = filled**2 - 2 * filled * (mean @ weights.T)
        misfit += square.reshape(len(table), -1) @ outer.T
        model = LinearDynamicalSystem(
            weights[:, :-1],
            weights[:, -1],
            float((misfit * seen).sum() / seen.sum()),
            *_dynamics(states, prior_states),
        )
    return model


def interpolate_in_time(table: Array) -> Array:
    """Fill each column's missing cells (NaN) linearly between its neighbours in time.

    Parameters
    ----------
    table : array, (T, columns)
        Before the first and after the last cell that was seen their values are repeated.

    Raises
    ------
    ValueError
        If a column was never seen.
    """
    seen = ~np.isnan(table)
    if not seen.any(0).all():
        raise ValueError(
            f"every column of table must have been seen, column {int(seen.any(0).argmin())} was not"
        )
    times = np.arange(len(table))
    columns = [
        np.interp(times, times[known], column[known])
        for column, known in zip(table.T, seen.T, strict=True)
    ]
    return np.stack(columns, 1)


def _started(filled: Array, dim: int, prior_states: float) -> LinearDynamicalSystem:
    mean = filled.mean(0)
    left, sizes, right = np.linalg.svd(filled - mean, full_matrices=False)
    states = left[:, :dim] * sizes[:dim]
    # States of variance 1: what is left of the scale belongs to the loadings.
    spread = np.sqrt((states**2).mean(0))
    rest = (sizes[dim:] ** 2).sum() / filled.size
    nothing = np.zeros((len(states), dim, dim))
    beliefs = States(states / spread, nothing, nothing[1:])
    noise = max(float(rest), 1e-6 * float(filled.var()))
    loadings = right[:dim].T * spread
    return LinearDynamicalSystem(loadings, mean, noise, *_dynamics(beliefs, prior_states))


def _dynamics(states: States, prior_states: float) -> tuple[Array, Array, Array]:
    """Return A, Q and the covariance of a state."""
    mean, covariance, lagged = states
    square = mean[:, :, None] * mean[:, None, :] + covariance
    before, after, whole = square[:-1].sum(0), square[1:].sum(0), square.mean(0)
    moved = (mean[1:, :, None] * mean[:-1, None, :] + lagged).sum(0)
    transition = np.linalg.solve(before + prior_states * whole, moved.T).T
    cross = transition @ moved.T
    innovation = after - cross - cross.T + transition @ before @ transition.T
    innovation += prior_states * transition @ whole @ transition.T
    innovation = innovation / (len(mean) - 1) + 1e-9 * np.eye(len(whole))
    return transition, (innovation + innovation.T) / 2, whole


def _filtered(model: LinearDynamicalSystem, precision: Array, information: Array) -> States:
    mean, covariance = np.zeros(len(model.start)), model.start
    means: list[Array] = []
    covariances: list[Array] = []
    for told, towards in zip(precision, information, strict=True):
        if means:
            mean = model.transition @ means[-1]
            covariance = model.transition @ covariances[-1] @ model.transition.T + model.innovation
        prior = np.linalg.inv(covariance)
        covariance = np.linalg.inv(prior + told)
        means.append(covariance @ (prior @ mean + towards))
        covariances.append((covariance + covariance.T) / 2)
    return States(np.stack(means), np.stack(covariances), np.empty((0, *model.start.shape)))
