"""Leapfrog trajectories of different length in one batch, which shrinks as rows arrive."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .base import EnergyAndGradient
from .integrators import Phase, one_step
from .scale import scaled_back

SHARES = (*(k / 16 for k in range(16, 1, -1)), *(0.5**k for k in range(4, 30)))
"""Shares of its rows that a batch may shrink to, so that few shapes occur: a row in the mean of 32
rests in it."""


SHARES_COMPILED = (1, 3 / 4, 1 / 2, 3 / 8, *(0.5**k for k in range(2, 6)))
"""The same where every shape takes seconds to compile."""


def leapfrog_each(
    phase: Phase,
    step_size: Float[Tensor, " n"],
    num_steps: Int64[Tensor, " n"],
    potential: EnergyAndGradient,
    scale: Tensor,
    order: Int64[Tensor, " n"] | None = None,
) -> tuple[Phase, float]:
    """Follow trajectories of different length, each for its own number of leapfrog steps.

    A row that has arrived rests. If the potential has ``leading(order, k)``, the potential of the
    first k rows of an order, the rows that are still on their way are from time to time made a
    batch of their own.

    Parameters
    ----------
    phase, step_size, scale
        As of :func:`leapfrog`.
    num_steps : int64 Tensor, (n,)
        Leapfrog steps of each row, at least one.
    potential : callable
        Energy and gradient.
    order : int64 Tensor, (n,), optional
        All rows, those with more steps first, if it is known; one that stays the same from one
        trajectory to the next spares copies of the data.

    Returns
    -------
    phase : Phase
        Where the trajectories end.
    num_gradients : float
        Gradients that were evaluated for a row, in the mean.
    """
    # How many rows have arrived after 0, 1, 2, ... steps: read once, not at every step.
    arrived = num_steps.bincount().cumsum(0).tolist()
    most, num_rows, evaluated = len(arrived) - 1, len(num_steps), 0
    sizes = _sizes(num_rows, potential)
    # (steps, n, 1)
    left = num_steps - torch.arange(most, device=num_steps.device)[:, None]
    drift = torch.where(left > 0, step_size, 0.0)[:, :, None]
    kick = torch.where(left > 1, drift[:, :, 0], 0.5 * drift[:, :, 0])[:, :, None]
    position, momentum, energy, gradient = phase
    half = 0.5 * step_size[:, None]
    momentum = torch.addcmul(momentum, half, scaled_back(scale, gradient), value=-1)
    moving, now = Phase(position, momentum, energy, gradient), potential
    rested: list[Phase] = []
    for step in range(most):
        before = len(moving.position)
        size = min(size for size in sizes if size >= num_rows - arrived[step])
        if size < before:
            if before == num_rows:
                if order is None or bool((num_steps[order].diff() > 0).any()):
                    order = num_steps.argsort(descending=True, stable=True)
                moving = Phase(*(field[order] for field in moving))
                drift, kick, scale = drift[:, order], kick[:, order], scale[order]
            rested.append(Phase(*(field[size:] for field in moving)))
            moving = Phase(*(field[:size] for field in moving))
            drift, kick, scale = drift[:, :size], kick[:, :size], scale[:size]
            now = potential.leading(order, size)  # type: ignore[attr-defined]
        evaluated += size
        moving = _moved(now, moving, drift[step], kick[step], scale)
    if rested:
        assert order is not None
        parts = [moving, *reversed(rested)]
        back = torch.empty_like(order)
        back[order] = torch.arange(num_rows, device=order.device)
        moving = Phase(*(torch.cat(fields)[back] for fields in zip(*parts, strict=True)))
    return moving, evaluated / num_rows


def _sizes(num_rows: int, potential: EnergyAndGradient) -> list[int]:
    """Return the batch sizes that a trajectory may shrink to."""
    if not hasattr(potential, "leading"):
        return [num_rows]
    shares = SHARES_COMPILED if getattr(potential, "compiles", False) else SHARES
    return sorted({math.ceil(share * num_rows) for share in shares})


def _moved(
    potential: EnergyAndGradient, phase: Phase, drift: Tensor, kick: Tensor, scale: Tensor
) -> Phase:
    """Return the phase a step further; ``drift`` and ``kick`` (n, 1) are zero where it rests."""
    fused = getattr(potential, "fused", None)
    arguments = (phase.position, phase.momentum, drift, kick, scale)
    if fused is None:
        return Phase(*one_step(potential, *arguments))
    return Phase(*fused("leapfrog", one_step, *arguments))
