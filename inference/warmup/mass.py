"""The mass that warmup estimates for each example, from positions and gradients of its chains."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..kernels.scale import Mass


class MassEstimate(NamedTuple):
    """Moments of positions and gradients around each chain's own mean, pooled over the chains.

    Chains that sit in different modes, or have not met yet, so give the scale of a mode and not the
    distance between them.

    Attributes
    ----------
    num_values : Tensor, (n,)
        Values seen of each chain.
    mean, gradient_mean : Tensor, (n, c, d)
        Of each chain.
    squares, gradient_squares : Tensor, (n, d) or (n, d, d)
        Sums of squared deviations of positions and of gradients, or of their outer products for a
        dense mass.
    """

    num_values: Float[Tensor, " n"]
    mean: Float[Tensor, "n c d"]
    squares: Tensor
    gradient_mean: Float[Tensor, "n c d"]
    gradient_squares: Tensor


def start_mass_estimate(
    position: Float[Tensor, "n d"], num_chains: int, mass: Mass
) -> MassEstimate:
    """Return the estimate before any value."""
    n, d = position.shape
    zeros = torch.zeros_like(position)
    squares = position.new_zeros(n, d, d) if mass == "dense" else zeros
    means = position.new_zeros(n, num_chains, d)
    return MassEstimate(position.new_zeros(n), means, squares, means, squares)


def update_mass_estimate(
    estimate: MassEstimate, position: Float[Tensor, "c n d"], gradient: Float[Tensor, "c n d"]
) -> MassEstimate:
    """Return the estimate with the present values of an example's c chains added."""
    num_values, mean, squares, gradient_mean, gradient_squares = estimate
    z, g = position.transpose(0, 1), gradient.transpose(0, 1)
    num_values = num_values + 1
    share = 1 / num_values[:, None, None]
    before = z - mean
    mean = mean + before * share
    change = g - gradient_mean
    gradient_mean = gradient_mean + change * share

    def products(a: Tensor, b: Tensor) -> Tensor:
        return a.mT @ b if squares.dim() == 3 else (a * b).sum(1)

    return MassEstimate(
        num_values,
        mean,
        squares + products(before, z - mean),
        gradient_mean,
        gradient_squares + products(change, g - gradient_mean),
    )


def estimated_scale(estimate: MassEstimate) -> Tensor:
    """Return the scale that the estimate suggests.

    With C the covariance of positions and G that of gradients the inverse mass M solves
    ``M G M = C``. On a normal posterior, where the gradient is its precision times the deviation,
    that is the posterior covariance whatever part of the posterior the chains have seen, and after
    few values. A diagonal M is ``sqrt(var z / var ∇E)``; a dense one is drawn towards that while
    there are hardly more values than latents.

    References
    ----------
    Seyboldt, Carlson & Carpenter, "Preconditioning Hamiltonian Monte Carlo by minimizing Fisher
    divergence" (arXiv 2603.18845, 2026).
    """
    num_values, mean, squares, _, gradient_squares = estimate
    dense = squares.dim() == 3
    position_squares = squares.diagonal(dim1=1, dim2=2) if dense else squares
    steepness = gradient_squares.diagonal(dim1=1, dim2=2) if dense else gradient_squares
    tiny = torch.finfo(squares.dtype).tiny ** 0.5
    # The counts cancel. A coordinate that never moved, or has no gradient, says nothing.
    known = (position_squares > tiny) & (steepness > tiny)
    ratio = position_squares / torch.where(known, steepness, 1.0)
    sd = torch.where(known, ratio.sqrt(), 1.0).clamp(1e-10, 1e10).sqrt()
    if not dense:
        return sd
    # Each chain's own mean takes a degree of freedom.
    count = mean.shape[1] * (num_values - 1).clamp(min=1)
    # In units of the diagonal both matrices have the same diagonal, and M is about the identity.
    unit = sd[:, :, None] * sd[:, None, :]
    positions = _shrunk(squares / unit, count)
    gradients = _shrunk(gradient_squares * unit, count)
    root, inverse_root = _roots(gradients)
    middle, _ = _roots(root @ positions @ root)
    inverse_mass = unit * (inverse_root @ middle @ inverse_root)
    factor, failed = torch.linalg.cholesky_ex((inverse_mass + inverse_mass.mT) / 2)
    good = (failed == 0) & factor.isfinite().flatten(1).all(1)
    return torch.where(good[:, None, None], factor, torch.diag_embed(sd))


def _shrunk(sums: Float[Tensor, "n d d"], count: Float[Tensor, " n"]) -> Float[Tensor, "n d d"]:
    """Return the matrix over its mean diagonal, drawn towards the identity while it is singular."""
    d = sums.shape[1]
    level = sums.diagonal(dim1=1, dim2=2).mean(1).clamp(min=torch.finfo(sums.dtype).tiny)
    weight = 1 - (d / count).clamp(max=1.0)[:, None, None] ** 2
    identity = torch.eye(d, dtype=sums.dtype, device=sums.device)
    return weight * (sums / level[:, None, None]) + (1 - weight) * identity


def _roots(matrix: Float[Tensor, "n d d"]) -> tuple[Tensor, Tensor]:
    """Return the symmetric square root of positive definite matrices, and its inverse."""
    values, vectors = torch.linalg.eigh(matrix)
    root = values.clamp(min=1e-10).sqrt()[:, None, :]
    return (vectors * root) @ vectors.mT, (vectors / root) @ vectors.mT
