"""Mass matrices: linear maps after which a posterior looks rounder.

A kernel with inverse mass ``L Lᵀ`` moves in the coordinates ``x = L⁻¹ z``, where its momentum is
standard normal. Every chain carries its own L, the *scale*: (n, 1) for unit mass, (n, d) for a
diagonal, (n, d, d) lower triangular for a dense one.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Mass = Literal["auto", "identity", "diagonal", "dense"]

DENSE_UP_TO = 64
"""Latents of an example up to which an ``"auto"`` mass is dense: (d, d) numbers for each."""


def check_mass(mass: Mass) -> None:
    """Raise ValueError unless it is one of the four."""
    if mass not in ("auto", "identity", "diagonal", "dense"):
        raise ValueError(f'mass must be "auto", "identity", "diagonal" or "dense", got {mass!r}')


def resolved_mass(mass: Mass, latent_dim: int) -> Mass:
    """Return what ``"auto"`` stands for."""
    if mass != "auto":
        return mass
    return "dense" if latent_dim <= DENSE_UP_TO else "diagonal"


def unit_scale(position: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
    """Return the scale of unit mass."""
    return torch.ones_like(position[:, :1])


def scaled(scale: Tensor, vector: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return ``L v``: from whitened to latent coordinates."""
    if scale.dim() == 2:
        return scale * vector
    return (scale @ vector[:, :, None])[:, :, 0]


def scaled_back(scale: Tensor, vector: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return ``Lᵀ v``: a gradient in latent coordinates as one in whitened coordinates."""
    if scale.dim() == 2:
        return scale * vector
    return (scale.mT @ vector[:, :, None])[:, :, 0]


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
    squares : Tensor, (n, d) or (n, d, d)
        Sum of squared deviations of the positions, or of their outer products for a dense mass.
    gradient_squares : Tensor, (n, d)
        Sum of squared deviations of the gradients.
    """

    num_values: Float[Tensor, " n"]
    mean: Float[Tensor, "n c d"]
    squares: Tensor
    gradient_mean: Float[Tensor, "n c d"]
    gradient_squares: Float[Tensor, "n d"]


def start_mass_estimate(
    position: Float[Tensor, "n d"], num_chains: int, mass: Mass
) -> MassEstimate:
    """Return the estimate before any value."""
    n, d = position.shape
    zeros = torch.zeros_like(position)
    squares = position.new_zeros(n, d, d) if mass == "dense" else zeros
    means = position.new_zeros(n, num_chains, d)
    return MassEstimate(position.new_zeros(n), means, squares, means, zeros)


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
    after = z - mean
    change = g - gradient_mean
    gradient_mean = gradient_mean + change * share
    products = before.mT @ after if squares.dim() == 3 else (before * after).sum(1)
    return MassEstimate(
        num_values,
        mean,
        squares + products,
        gradient_mean,
        gradient_squares + (change * (g - gradient_mean)).sum(1),
    )


def estimated_scale(estimate: MassEstimate) -> Tensor:
    """Return the scale that the estimate suggests.

    A diagonal's square is ``sqrt(var z / var ∇E)``, which is exact for a normal posterior in its
    principal axes after a few values, and lies between the marginal and the conditional standard
    deviation else. A dense one is the Cholesky factor of the covariance, drawn towards that
    diagonal as long as there are few values.

    References
    ----------
    Seyboldt, Carlson & Carpenter, "Preconditioning Hamiltonian Monte Carlo by minimizing Fisher
    divergence" (arXiv 2603.18845, 2026), for the diagonal.
    """
    num_values, mean, squares, _, gradient_squares = estimate
    chains, d = mean.shape[1:]
    # Each chain's own mean takes a degree of freedom.
    count = chains * (num_values - 1).clamp(min=1)
    dense = squares.dim() == 3
    position_squares = squares.diagonal(dim1=1, dim2=2) if dense else squares
    tiny = torch.finfo(squares.dtype).tiny ** 0.5
    # The counts cancel. A coordinate that never moved, or has no gradient, says nothing.
    known = (position_squares > tiny) & (gradient_squares > tiny)
    ratio = position_squares / torch.where(known, gradient_squares, 1.0)
    variance = torch.where(known, ratio.sqrt(), 1.0).clamp(1e-10, 1e10)
    if not dense:
        return variance.sqrt()
    weight = (count / (count + d + 5))[:, None, None]
    covariance = squares / count[:, None, None]
    mixed = weight * covariance + (1 - weight) * torch.diag_embed(variance)
    mixed = mixed + weight * torch.diag_embed((~known).to(mixed))
    factor, failed = torch.linalg.cholesky_ex(mixed)
    fallback = torch.diag_embed(variance.sqrt())
    good = (failed == 0) & factor.isfinite().flatten(1).all(1)
    return torch.where(good[:, None, None], factor, fallback)
