"""Leapfrog trajectories of different length in one batch, which shrinks as rows arrive."""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..potentials.evaluation import PLAIN, Evaluator, Task
from .base import EnergyAndGradient
from .integrators import Phase, one_step
from .scale import scaled_back


@runtime_checkable
class Shrinking(Protocol):
    """An energy that some rows can be taken out of: a :class:`Potential`."""

    @property
    def evaluator(self) -> Evaluator:
        """Who evaluates it, and to which sizes a batch may shrink."""

    def leading(self, order: Tensor, size: int) -> EnergyAndGradient:
        """Return the energy of the first ``size`` rows of an order."""


def leapfrog_each(
    phase: Phase,
    step_size: Float[Tensor, " n"],
    num_steps: Int64[Tensor, " n"],
    potential: EnergyAndGradient,
    scale: Tensor,
    order: Int64[Tensor, " n"] | None = None,
) -> tuple[Phase, float]:
    """Follow trajectories of different length, each for its own number of leapfrog steps.

    A row that has arrived rests. If the potential is :class:`Shrinking`, the rows that are still on
    their way are from time to time made a batch of their own.

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
            assert isinstance(potential, Shrinking)
            now = potential.leading(order, size)
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
    if not isinstance(potential, Shrinking):
        return [num_rows]
    return sorted({math.ceil(share * num_rows) for share in potential.evaluator.shares})


def _moved(
    potential: EnergyAndGradient, phase: Phase, drift: Tensor, kick: Tensor, scale: Tensor
) -> Phase:
    """Return the phase a step further; ``drift`` and ``kick`` (n, 1) are zero where it rests."""
    evaluator = potential.evaluator if isinstance(potential, Shrinking) else PLAIN
    arguments = (phase.position, phase.momentum, drift, kick, scale)
    return Phase(*evaluator(LEAPFROG, potential, *arguments))


LEAPFROG = Task("leapfrog", one_step, num_steps=1)
"""A leapfrog step, compiled as one where steps are."""
