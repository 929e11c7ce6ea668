"""Integrators of Hamilton's equations for ``H(z, p) = E(z) + p'p / 2``, p whitened."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .kernel import EnergyAndGradient, choose
from .mass import scaled, scaled_back


class Phase(NamedTuple):
    """A point of phase space, with the energy and gradient at its position."""

    position: Float[Tensor, "n d"]
    momentum: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]


def leapfrog(
    phase: Phase,
    step_size: Float[Tensor, " n"],
    num_steps: int,
    potential: EnergyAndGradient,
    scale: Tensor,
) -> Phase:
    """Follow a trajectory for ``num_steps`` leapfrog steps.

    Reversible (negate the momentum), volume preserving, and of second order: the energy error is
    O(s²). The half steps of the momentum between two position steps are taken together, so the
    gradient is evaluated ``num_steps`` times. ``scale`` is L of the inverse mass ``L Lᵀ``.

    References
    ----------
    Neal, "MCMC using Hamiltonian dynamics" (2011), section 2.3.
    """
    position, momentum, energy, gradient = phase
    s = step_size[:, None]
    momentum = momentum - 0.5 * s * scaled_back(scale, gradient)
    for step in range(num_steps):
        position = position + s * scaled(scale, momentum)
        energy, gradient = potential(position)
        last = step == num_steps - 1
        momentum = momentum - (0.5 if last else 1.0) * s * scaled_back(scale, gradient)
    return Phase(position, momentum, energy, gradient)


COMPACTED_BY = 0.8
"""Batches shrink to a power of this share of their rows, so that few shapes occur."""

COMPACTED_BY_COMPILED = 0.5
"""The same where every shape takes seconds to compile."""


def leapfrog_each(
    phase: Phase,
    step_size: Float[Tensor, " n"],
    num_steps: Int64[Tensor, " n"],
    potential: EnergyAndGradient,
    scale: Tensor,
) -> tuple[Phase, float]:
    """Follow trajectories of different length, each for its own number of leapfrog steps.

    A row that has arrived rests, and is taken out of the batch together with others if the
    potential has ``rows(index)``, the potential of some of its rows. Returns where they end and
    the mean number of gradients evaluated for a row.
    """
    # How many rows have arrived after 0, 1, 2, ... steps: read once, not at every step.
    arrived = num_steps.bincount().cumsum(0).tolist()
    num_rows, evaluated = len(num_steps), 0
    sizes = _sizes(num_rows, potential)
    end, going = phase, torch.arange(num_rows, device=num_steps.device)
    work = _Work(phase, step_size, num_steps, potential, scale)
    for step in range(len(arrived) - 1):
        size = min(size for size in sizes if size >= num_rows - arrived[step])
        if size < len(going):
            end = _put(end, going, work.phase)
            # Those that have longest to go, and some that have arrived to make up the number.
            kept = work.num_steps.argsort(descending=True, stable=True)[:size]
            going = going[kept]
            work = _Work(
                Phase(*(field[going] for field in end)),
                step_size[going],
                num_steps[going],
                potential.rows(going),  # type: ignore[attr-defined]
                scale[going],
            )
        evaluated += len(going)
        work = work.advanced(step)
    return _put(end, going, work.phase), evaluated / num_rows


def _sizes(num_rows: int, potential: EnergyAndGradient) -> list[int]:
    """Return the batch sizes that a trajectory may shrink to."""
    if not hasattr(potential, "rows"):
        return [num_rows]
    share = COMPACTED_BY_COMPILED if getattr(potential, "compiles", False) else COMPACTED_BY
    sizes, size = [], float(num_rows)
    while size > 1:
        sizes.append(math.ceil(size))
        size *= share
    return [*sizes, 1]


class _Work(NamedTuple):
    """The rows that are on their way."""

    phase: Phase
    step_size: Float[Tensor, " n"]
    num_steps: Int64[Tensor, " n"]
    potential: EnergyAndGradient
    scale: Tensor

    def advanced(self, step: int) -> "_Work":
        fused = getattr(self.potential, "fused", None)
        arguments = (*self.phase, self.step_size, self.num_steps, self.scale)
        now = torch.tensor(step, device=self.num_steps.device)
        moved = (
            _one_step(self.potential, *arguments, now)
            if fused is None
            else fused("leapfrog", _one_step, *arguments, now)
        )
        return self._replace(phase=Phase(*moved))


def _one_step(potential: EnergyAndGradient, *tensors: Tensor) -> tuple[Tensor, ...]:
    *fields, step_size, num_steps, scale, step = tensors
    phase = Phase(*fields)
    moved = leapfrog(phase, step_size, 1, potential, scale)
    going = step < num_steps
    return tuple(choose(going, new, old) for new, old in zip(moved, phase, strict=True))


def _put(phase: Phase, index: Int64[Tensor, " k"], part: Phase) -> Phase:
    return Phase(
        *(whole.index_copy(0, index, some) for whole, some in zip(phase, part, strict=True))
    )
