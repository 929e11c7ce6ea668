"""What becomes of a proposal: accepted or not, undone where it diverged."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .base import Info

DIVERGENCE_THRESHOLD = 1000.0
"""Energy error, in nats, from which a proposal counts as divergent, as in Stan."""


def metropolis(
    energy: Float[Tensor, " n"],
    energy_error: Float[Tensor, " n"],
    uniform: Float[Tensor, " n"],
    num_gradients: float,
) -> Info:
    """Accept with probability ``min(1, exp(-energy_error))``; never what is not finite.

    ``energy`` is the potential energy before the step; the kernel fills in what it becomes.
    """
    worst = float("inf")
    error = energy_error.nan_to_num(nan=worst, posinf=worst, neginf=worst)
    rate = error.clamp(min=0.0).neg().exp()
    return Info(
        acceptance_rate=rate,
        accepted=uniform < rate,
        diverging=error > DIVERGENCE_THRESHOLD,
        energy_error=energy_error,
        potential_energy=energy,
        num_gradients=num_gradients,
    )


def choose(which: Bool[Tensor, "*rows"], new: Tensor, old: Tensor) -> Tensor:
    """Return ``new`` in the rows that ``which`` names, else ``old``; (*rows, ...) both."""
    return torch.where(which.reshape(*which.shape, *[1] * (new.dim() - which.dim())), new, old)


class Kept(NamedTuple):
    """Where a chain goes on from: its last move, or what was before it if that diverged.

    ``error`` is the energy error of the last move, infinite where the energy or gradient is
    not finite after it, NaN where there has been none.
    """

    diverged: Bool[Tensor, " n"]
    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]
    error: Float[Tensor, " n"]


def undo_divergence(
    state: Any,
    energy: Float[Tensor, " n"],
    gradient: Float[Tensor, "n d"],
    energy_error: Float[Tensor, " n"],
    finite: Bool[Tensor, " n"],
) -> Kept:
    """Return where a kernel that does not adjust goes on from.

    Far out, where a diverged move ends, the dynamics is unstable and would not come back. ``state``
    holds the last move's start, ``last_position``, with its energy and gradient; ``finite`` says
    where those after it are.
    """
    error = torch.where(finite, energy_error, torch.inf)
    diverged = error > DIVERGENCE_THRESHOLD
    each = diverged[:, None]
    return Kept(
        diverged,
        torch.where(each, state.last_position, state.position),
        torch.where(diverged, state.last_energy, energy),
        torch.where(each, state.last_gradient, gradient),
        error,
    )


def is_finite(energy: Float[Tensor, " n"], gradient: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
    """Return which rows have a finite energy and gradient."""
    # Half the operations of isfinite; NaN is the largest of all and not less than anything.
    return torch.maximum(gradient.abs().amax(1), energy.abs()) < torch.inf
