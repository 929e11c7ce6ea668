"""What a mass does to a step: linear maps after which a posterior looks rounder.

A kernel with inverse mass ``L Lᵀ`` moves in the coordinates ``x = L⁻¹ z``, where its momentum is
standard normal. Every chain carries its own L, the *scale*: (n, 1) for unit mass, (n, d) for a
diagonal, (n, d, d) lower triangular for a dense one.
"""

from typing import Literal

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
    return (vector[:, None, :] @ scale.mT)[:, 0]


def per_row(value: Float[Tensor, " n"], like: Tensor) -> Tensor:
    """Return a number for each row so that it multiplies all of that row of ``like``."""
    return value.reshape(-1, *[1] * (like.dim() - 1))


def scaled_back(scale: Tensor, vector: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return ``Lᵀ v``: a gradient in latent coordinates as one in whitened coordinates."""
    if scale.dim() == 2:
        return scale * vector
    return (vector[:, None, :] @ scale)[:, 0]
