"""Factor analysis and Wiener estimates of signals that are known by linear projections only."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

JITTER = 1e-5
"""Variance that is added to each projection's, as a share of their mean: for the factorisation."""


class Projected(NamedTuple):
    """Signals that were projected by the same matrix.

    Attributes
    ----------
    matrix : Tensor, (m, cells)
        Of full row rank, m at most the number of cells.
    y : Tensor, (n, m)
        The projections of n signals, without noise.
    """

    matrix: Tensor
    y: Tensor


class Factors(NamedTuple):
    """A normal distribution of signals, ``N(mean, W Wᵀ + diag(variance))``.

    Attributes
    ----------
    mean : Tensor, (cells,)
        Of the signals.
    loadings : Tensor, (cells, d)
        W, of latents N(0, I); without any (d = 0) the conditional mean is the Wiener estimate.
    variance : Tensor, (cells,)
        Of what the latents leave, positive.
    """

    mean: Tensor
    loadings: Tensor
    variance: Tensor


class Whitened(NamedTuple):
    """Projections in units in which what the latents leave is white, in signals and projections.

    With S the diagonal of the variance and L Lᵀ = A S Aᵀ.

    Attributes
    ----------
    matrix : Tensor, (m, cells)
        L⁻¹ A S^½, its rows orthonormal.
    y : Tensor, (n, m)
        L⁻¹ y.
    """

    matrix: Tensor
    y: Tensor


class Moments(NamedTuple):
    """Posterior of the latents: mean (n, d), covariance (d, d), and W in projections (m, d)."""

    latents: Tensor
    covariance: Tensor
    projected: Tensor


def whitened(data: Projected, variance: Tensor) -> Whitened:
    """Return projections in units in which noise of this variance (cells,) of the signals is white.

    ``y - A (mean + W z)`` is then ``u - B (S^-½ (mean + W z))``, with standard normal entries: the
    likelihood of signals whose deviation is correlated in the projections is that of white noise.

    Parameters
    ----------
    data : Projected
        As they were made.
    variance : Tensor, (cells,)
        Positive.
    """
    scaled = data.matrix * variance.sqrt()
    total = scaled @ scaled.mT
    total.diagonal().add_(JITTER * total.diagonal().mean())
    factor = torch.linalg.cholesky(total)
    solved = torch.linalg.solve_triangular(factor, data.y.mT, upper=False)
    matrix = torch.linalg.solve_triangular(factor, scaled, upper=False)
    return Whitened(matrix, solved.mT)


def latent_moments(white: Whitened, mean: Tensor, loadings: Tensor) -> Moments:
    """Return the posterior of the latents, mean (cells,) and loadings (cells, d) in white units."""
    projected = white.matrix @ loadings
    precision = projected.mT @ projected + torch.eye(projected.shape[1])
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    right = (white.y - white.matrix @ mean) @ projected
    return Moments(right @ covariance, covariance, projected)


def completed(white: Whitened, signal: Tensor, variance: Tensor) -> Tensor:
    """Return signals with what they leave of the projections explained by the Wiener estimate.

    The exact conditional mean of the signals given the projections and ``signal``, which the noise
    of this variance is around. The projections of what is returned are the data.

    Parameters
    ----------
    white : Whitened
        The projections.
    signal : Tensor, (n, cells) or what broadcasts to it
        In its own units.
    variance : Tensor, (cells,)
        The one by which they were whitened.

    References
    ----------
    Kay, "Fundamentals of statistical signal processing: estimation theory" (1993), section 12.7.
    """
    deviation = variance.sqrt()
    signal = signal / deviation
    made: Tensor = (signal + (white.y - signal @ white.matrix.mT) @ white.matrix) * deviation
    return made


def conditional_mean(white: Whitened, factors: Factors) -> Tensor:
    """Return the expected signals (n, cells) given their projections."""
    mean, loadings = _in_white(factors)
    latents = latent_moments(white, mean, loadings).latents
    return completed(white, factors.mean + latents @ factors.loadings.mT, factors.variance)


def fit_factors(
    data: Sequence[Projected],
    start: Factors,
    iterations: int,
    penalty: float = 0.0,
    mean_penalty: float = 0.0,
    signs: Tensor | None = None,
    pooled: Callable[[Tensor], Tensor] | None = None,
    num_solves: int = 3,
) -> Factors:
    """Fit a factor model to projections of signals by penalised maximum likelihood.

    An EM step of mean and loadings (expected conditional maximisation: their linear system by some
    conjugate gradients, the latents' covariance absorbed), then a step of the variance, whose fixed
    points are those of the likelihood too.

    Parameters
    ----------
    data : sequence of Projected
        Of several matrices: what is orthogonal to one is seen by others.
    start : Factors
        Where it begins; with no column of loadings, mean and variance alone are fitted.
    iterations : int
        Number of steps.
    penalty, mean_penalty : float, default 0
        Of the squares of loadings and mean in white units: a normal prior of precision ``penalty``,
        which keeps loadings of few projections from being noise.
    signs : Tensor, (cells,), optional
        ±1: signals times these numbers are as likely as the signals. Of mirror images, in a cosine
        basis.
    pooled : callable, optional
        From (cells,) numbers to their means over cells that have much the same variance. By
        default each cell has its own.

    Returns
    -------
    Factors

    References
    ----------
    Rubin & Thayer, "EM algorithms for ML factor analysis" (1982); Liu, Rubin & Wu, "Parameter
    expansion to accelerate EM" (1998); MacKay, "Bayesian interpolation" (1992), section 4, for the
    fixed point of a variance.
    """
    model = start
    white = [whitened(each, model.variance) for each in data]
    views = (None,) if signs is None else (None, signs)
    for _ in range(iterations):
        model = _with_new_loadings(model, white, views, penalty, mean_penalty, num_solves)
        ratio = _variance_ratio(model, white, views, pooled or (lambda cells: cells))
        model = model._replace(variance=model.variance * ratio)
        if bool((ratio == ratio[0]).all()):
            # White noise stays white, and large matrices need not be factorised again.
            white = [each._replace(y=each.y / ratio[0].sqrt()) for each in white]
        else:
            white = [whitened(each, model.variance) for each in data]
    return model


def _in_white(model: Factors) -> tuple[Tensor, Tensor]:
    deviation = model.variance.sqrt()
    return model.mean / deviation, model.loadings / deviation[:, None]


def _seen(rows: Tensor, signs: Tensor | None) -> Tensor:
    """Return cells (cells, ...) as the matrix meets them: the mirror image's by their signs."""
    return rows if signs is None else rows * signs[:, None]


def _with_new_loadings(
    model: Factors,
    white: Sequence[Whitened],
    views: Sequence[Tensor | None],
    penalty: float,
    mean_penalty: float,
    num_solves: int,
) -> Factors:
    mean, loadings = _in_white(model)
    both = torch.cat([mean[:, None], loadings], 1)  # (cells, 1 + d)
    right = torch.zeros_like(both)
    squares: list[tuple[Whitened, Tensor | None, Tensor]] = []
    share, count = torch.zeros_like(mean), 0
    for each in white:
        for signs in views:
            seen = _seen(both, signs)
            found = latent_moments(each, seen[:, 0], seen[:, 1:])
            z = torch.cat([torch.ones(len(each.y), 1), found.latents], 1)
            square = z.mT @ z
            square[1:, 1:] += len(z) * found.covariance
            right += _seen(each.matrix.mT @ (each.y.mT @ z), signs)
            squares.append((each, signs, square))
        share += len(each.y) * each.matrix.square().sum(0)
        count += len(each.y)
    share /= count
    weight = torch.full((both.shape[1],), float(penalty))
    weight[0] = mean_penalty

    def normal(values: Tensor) -> Tensor:
        made = values * weight
        for each, signs, square in squares:
            projected = each.matrix @ _seen(values, signs) @ square
            made = made + _seen(each.matrix.mT @ projected, signs)
        return made

    total = sum((square for _, _, square in squares), torch.zeros_like(squares[0][2]))
    values, vectors = torch.linalg.eigh(total)
    scale = share[:, None] * values + weight.mean() + 1e-6 * values.max()
    both = _conjugate_gradients(
        normal, right, both, lambda rows: rows @ vectors / scale @ vectors.mT, num_solves
    )
    if model.loadings.shape[1]:
        # The latents' second moment becomes that of their prior (PX-EM).
        spread = torch.linalg.cholesky(total[1:, 1:] / total[0, 0])
        both = torch.cat([both[:, :1], both[:, 1:] @ spread], 1)
    deviation = model.variance.sqrt()
    return model._replace(mean=both[:, 0] * deviation, loadings=both[:, 1:] * deviation[:, None])


def _conjugate_gradients(
    operator: Callable[[Tensor], Tensor],
    right: Tensor,
    start: Tensor,
    precondition: Callable[[Tensor], Tensor],
    iterations: int,
) -> Tensor:
    found, residual = start, right - operator(start)
    direction = precondition(residual)
    product = first = (residual * direction).sum()
    for _ in range(iterations):
        if not product > 1e-12 * first:
            break
        image = operator(direction)
        step = product / (direction * image).sum()
        found, residual = found + step * direction, residual - step * image
        conditioned = precondition(residual)
        product, before = (residual * conditioned).sum(), product
        direction = conditioned + product / before * direction
    return found


def _variance_ratio(
    model: Factors,
    white: Sequence[Whitened],
    views: Sequence[Tensor | None],
    pooled: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return by how much residuals are larger than expected, in each cell, where they are seen."""
    mean, loadings = _in_white(model)
    both = torch.cat([mean[:, None], loadings], 1)
    found, expected = torch.zeros_like(mean), torch.zeros_like(mean)
    for each in white:
        for signs in views:
            seen = _seen(both, signs)
            moments = latent_moments(each, seen[:, 0], seen[:, 1:])
            left = each.y - each.matrix @ seen[:, 0] - moments.latents @ moments.projected.mT
            found += (left @ each.matrix).square().sum(0)
            back = each.matrix.mT @ moments.projected
            found += len(each.y) * ((back @ moments.covariance) * back).sum(1)
            expected += len(each.y) * each.matrix.square().sum(0)
    ratio: Tensor = (pooled(found) / pooled(expected)).clamp(0.2, 5)
    return ratio
