"""Random numbers that a normal vector with limits needs."""

import torch
from torch import Tensor

LEAST_SHARE = 2.0**-40
"""Uniform numbers come in steps of 2⁻²⁴ at best: an interval is entered by half of one at least."""

FAR_OUT = -300.0
"""Logarithm of a probability from which on its quantile is found by Newton's steps."""


def truncated_normal(
    mean: Tensor, scale: Tensor, low: Tensor, high: Tensor, uniform: Tensor
) -> Tensor:
    """Return draws of a normal distribution between two limits, by its inverse.

    Parameters
    ----------
    mean, scale, low, high : Tensor, (n,)
        In double precision; limits may be infinite.
    uniform : Tensor, (n,)
        Numbers in [0, 1).
    """
    a, b = (low - mean) / scale, (high - mean) / scale
    # Where the interval lies above the mean it is mirrored: the lower tail has all its digits.
    mirrored = a + b > 0
    a, b = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
    below, above = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    share = uniform.clamp(LEAST_SHARE, 1 - LEAST_SHARE)
    # Φ(a) + u (Φ(b) - Φ(a)) in units of Φ(b), which may be less than the least number.
    log_probability = above + torch.log(share + (1 - share) * (below - above).exp())
    found = inverse_log_ndtr(log_probability)
    found = torch.where(mirrored, -found, found) * scale + mean
    return torch.minimum(torch.maximum(found, low), high)


def inverse_log_ndtr(log_probability: Tensor) -> Tensor:
    """Return the normal quantile of a probability below 1 that is given by its logarithm."""
    near: Tensor = torch.special.ndtri(log_probability.clamp(min=FAR_OUT).exp())
    is_near = log_probability > FAR_OUT
    if is_near.all():
        return near
    # Far out, Φ(x) = φ(x) / |x| (1 - 1/x² + ...): a few steps of Newton's on its logarithm.
    far = log_probability.clamp(max=FAR_OUT)
    x = -(-2 * far).sqrt()
    for _ in range(4):
        value = torch.special.log_ndtr(x)
        slope = (-0.5 * x**2 - 0.9189385332046727 - value).exp()
        x = x - (value - far) / slope
    return torch.where(is_near, near, x)


def inverse_wishart(df: float, scale: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a draw of an inverse-Wishart distribution and its inverse, (p, p) each.

    By the decomposition of Bartlett (1933).

    Parameters
    ----------
    df : float
        Degrees of freedom, over p - 1.
    scale : Tensor, (p, p)
        In double precision; the mean is ``scale / (df - p - 1)``.
    """
    width = len(scale)
    shapes = 0.5 * (df - torch.arange(width, dtype=scale.dtype))
    squares = 2 * torch._standard_gamma(shapes, generator=generator)
    below = torch.randn(width, width, generator=generator, dtype=scale.dtype).tril(-1)
    root = below + torch.diag(squares.sqrt())
    # scale = L Lᵀ: the draw is (L A⁻ᵀ)(L A⁻ᵀ)ᵀ, its inverse (L⁻ᵀ A)(L⁻ᵀ A)ᵀ.
    factor = torch.linalg.cholesky(scale)
    half = torch.linalg.solve_triangular(root, factor.mT, upper=False)
    other = torch.linalg.solve_triangular(factor.mT, root, upper=True)
    return half.mT @ half, other @ other.mT
