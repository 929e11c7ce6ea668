"""Steps of a kernel with their noise and their adaptation, as one function of tensors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..kernels.base import Info, Kernel
from ..kernels.capabilities import largest_step_size
from ..kernels.starts import start_total
from ..noise.ahead import NoiseAhead
from ..potentials.data import Identity
from ..potentials.evaluation import Task
from ..potentials.potential import Potential
from ..warmup.step_size import online_gain, online_step_size, pool_chains

TAME = 1e-3
"""Factor on step sizes with which a kernel's moves are nearly all accepted, and lead not far."""

SHRINKAGE = 10
"""Squared gradients' worth of belief that all latents of an example are equally stiff."""


class Totals(NamedTuple):
    """What is known after some steps beside the state.

    Attributes
    ----------
    squares : Tensor, (b, d) or (b, 0)
        Squared gradients: their sum over steps, their mean over chains; empty without a mass.
    energy : Tensor, ()
        Mean potential energy after the last step.
    rate_sum, num_rates : Tensor, ()
        Sum and number of the acceptance rates that are known.
    num_diverging : int64 Tensor, ()
        Divergent proposals.
    start : Tensor, ()
        A number that is not finite if the start is not.
    """

    squares: Tensor
    energy: Tensor
    rate_sum: Tensor
    num_rates: Tensor
    num_diverging: Tensor
    start: Tensor


class Steps:
    """So many steps of a kernel.

    From ``(position, step size, curvature, time, key)``, or from ``(*state, time, key)`` where they
    go on from other steps, to ``(*state, *totals)``. Step size, curvature and time are those of
    each example, key that of each chain.
    """

    def __init__(
        self,
        kernel: Kernel[Any],
        num_chains: int,
        num_steps: int,
        starts: bool,
        preconditioned: bool,
    ) -> None:
        name = ("visit", Identity(kernel), num_chains, num_steps, starts, preconditioned)
        self.task = Task(name, self, num_steps=num_steps, tame=self.tamed)
        self._kernel = kernel
        self._num_chains = num_chains
        self._num_steps = num_steps
        self._starts = starts
        self._preconditioned = preconditioned

    def __call__(self, potential: Potential, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Make the steps."""
        *given, time, key = tensors
        c, b = self._num_chains, len(time)
        state, start = self._start(potential, given, time)
        noise = NoiseAhead(key)
        times = time + torch.arange(self._num_steps, device=time.device)[:, None]
        adapts = self._kernel.step_size == "auto"
        gains = online_gain(times, state.step_size.dtype).unbind() if adapts else ()
        squares = state.step_size.new_zeros(b, 0)
        rates, diverging = [], []
        for step, now in enumerate(_for_each_chain(times, c).unbind()):
            generator = noise.at(now, self._num_steps - step - 1)
            state, info = self._kernel.step(state, potential, generator)
            if adapts:
                state = state._replace(step_size=self._adapted(state, info, gains[step]))
            if self._preconditioned:
                more = (state.gradient**2).reshape(c, b, -1).mean(0)
                squares = more if step == 0 else squares + more
            rates.append(info.acceptance_rate)
            diverging.append(info.diverging)
        all_rates = torch.stack(rates)
        totals = Totals(
            squares,
            info.potential_energy.mean(),
            all_rates.nansum(),
            (~all_rates.isnan()).sum(),
            torch.stack(diverging).sum(),
            start,
        )
        return *state, *totals

    def tamed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return arguments with steps so small that chains do not part by rounding."""
        place = 1 if self._starts else self._kernel.state_type._fields.index("step_size")
        return [TAME * t if i == place else t for i, t in enumerate(tensors)]

    def _start(self, potential: Potential, given: list[Tensor], time: Tensor) -> tuple[Any, Tensor]:
        if not self._starts:
            return self._kernel.state_type(*given), time.new_zeros(())
        position, step_size, curvature = given
        c = self._num_chains
        state = self._kernel.init(position, potential)
        start = start_total(self._kernel, state)
        state = state._replace(step_size=_for_each_chain(step_size, c))
        if self._preconditioned:
            state = state._replace(scale=_scale(curvature, time, c).repeat(c, 1))
        return state, start

    def _adapted(self, state: Any, info: Info, gain: Float[Tensor, " b"]) -> Float[Tensor, " rows"]:
        c = self._num_chains
        step_size = online_step_size(
            state.step_size if c == 1 else state.step_size[: len(gain)],
            pool_chains(info.acceptance_rate, c),
            self._kernel.target_acceptance,
            gain,
        )
        largest = largest_step_size(self._kernel)
        if largest < float("inf"):
            step_size = step_size.clamp(max=largest)
        return _for_each_chain(step_size, c)


def _for_each_chain(value: Tensor, num_chains: int) -> Tensor:
    """Return values (..., b) of examples for all their chains, (..., c b)."""
    return value if num_chains == 1 else torch.cat([value] * num_chains, -1)


def _scale(
    curvature: Float[Tensor, "b d"], time: Int64[Tensor, " b"], num_chains: int
) -> Float[Tensor, "b d"]:
    """Return the inverse root of the curvature, drawn towards its mean while it is uncertain."""
    # The gain is at least .02: no more than about 50 steps' worth is remembered.
    seen = (num_chains * time.clamp(max=50)).to(curvature)[:, None]
    mean = curvature.mean(1, keepdim=True)
    return ((seen * curvature + SHRINKAGE * mean) / (seen + SHRINKAGE)).rsqrt()
