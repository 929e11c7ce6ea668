"""The linear generator with Gaussian noise, and its exact posterior where cells are missing."""

import math
from typing import NamedTuple

import numpy as np

from .incomplete_table import RowStacks
from .sweep_operator import Array, sweep


class LinearGaussian(NamedTuple):
    """``y = mean + loadings z + ε``, ``z ~ N(0, I)``, ``ε ~ N(0, diag(noise_variance))``.

    Attributes
    ----------
    mean : array, (D,)
    loadings : array, (D, d)
    noise_variance : array, (D,)
    """

    mean: Array
    loadings: Array
    noise_variance: Array


class StackedPosterior(NamedTuple):
    """What stacks of rows tell about their latents.

    Attributes
    ----------
    mean : array, (p, r, d)
    covariance : array, (p, d, d)
        The same for all rows of a stack.
    log_likelihood : array, (p, r)
        Log density of the observed cells, in nats.
    """

    mean: Array
    covariance: Array
    log_likelihood: Array


def posterior(model: LinearGaussian, rows: RowStacks) -> StackedPosterior:
    """Return the exact posterior of the latents given the observed cells.

    Notes
    -----
    The regression of z on the observed y is what a sweep of their joint covariance on its yy block
    gives. The joint precision swept on its zz block is the same matrix with the opposite sign, and
    that block is but (d, d): ``I + W' Ψ⁻¹ W`` over the observed columns. So it is this one that is
    swept, once for each pattern of missing cells, and no (D, D) matrix is formed.
    """
    mean, loadings, noise = model
    columns, d = loadings.shape
    weights = loadings / noise[:, None]
    information = (weights[:, :, None] * loadings[:, None, :]).reshape(columns, d * d)
    seen = rows.seen[:, 0].astype(np.float64)
    precision = np.eye(d) + (seen @ information).reshape(-1, d, d)
    covariance = -sweep(precision, range(d))
    residual = np.where(rows.seen, rows.values - mean, 0.0)
    right = residual @ weights
    latent = right @ covariance
    constant = seen @ np.log(2 * math.pi * noise) + np.linalg.slogdet(precision)[1]
    distance = residual**2 @ (1 / noise) - (right * latent).sum(-1)
    return StackedPosterior(latent, covariance, -0.5 * (constant[:, None] + distance))
