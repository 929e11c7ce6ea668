"""A visit to the chains of a minibatch: some steps, what they adapt, and their totals."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..kernels.base import Info, Kernel
from ..kernels.capabilities import gradients_per_step, largest_step_size
from ..kernels.starts import NonFiniteStartError, rows_not_finite, start_total
from ..noise.ahead import NoiseAhead
from ..potentials.data import Identity
from ..potentials.evaluation import Task
from ..potentials.potential import Potential
from ..warmup.step_size import online_gain, online_step_size, pool_chains
from .chains import Chains


class Visit(NamedTuple):
    """What a visit to a batch gives.

    Attributes
    ----------
    position : Tensor, (rows, d)
        Where the chains are.
    energy : Tensor
        Their mean potential energy, nats.
    acceptance_rate : Tensor
        Mean over steps and rows.
    num_diverging : int64 Tensor
        Divergent proposals.
    """

    position: Float[Tensor, "rows d"]
    energy: Float[Tensor, ""]
    acceptance_rate: Float[Tensor, ""]
    num_diverging: Int64[Tensor, ""]


def visit(
    chains: Chains,
    index: Int64[Tensor, " b"],
    potential: Potential,
    kernel: Kernel[Any],
    num_steps: int,
    seed: int,
) -> Visit:
    """Move the chains of the examples at ``index`` and store where they get.

    Parameters
    ----------
    chains : Chains
        Changed in place, at ``index`` only.
    index : int64 Tensor, (b,)
        The examples.
    potential : Potential
        Of c·b rows, chain-major: all examples for the first chain, then for the second.
    kernel : Kernel
        Its ``"auto"`` step size goes on adapting, and so does a mass, which is diagonal here:
        ``1 / E[(∇E)²]``. In the posterior the mean squared gradient is the mean curvature, so this
        is the diagonal Gauss-Newton preconditioner without a further evaluation.
    num_steps : int
        Steps to make.
    seed : int
        Of the run; the noise is keyed by (seed, example, chain, step).

    Raises
    ------
    NonFiniteStartError
        If an energy is not finite where a chain stands; names the example.

    References
    ----------
    Titsias, "Optimal preconditioning and Fisher adaptive Langevin sampling" (2023), for the mass.
    """
    c, b = chains.num_chains, index.shape[0]
    position = chains.position[index].transpose(0, 1).reshape(c * b, -1)
    step_size, time, curvature = (
        field[index] for field in (chains.step_size, chains.num_steps, chains.curvature)
    )
    key = chains.keys(seed, index)
    moved: Sequence[Tensor] = (position, step_size, curvature)
    totals: list[_Totals] = []
    done = 0
    for part in part_sizes(kernel, num_steps, potential.evaluator.compiles):
        steps = _Steps(kernel, c, part, done == 0, curvature.shape[1] > 0)
        given = (*moved, time + done, key)
        task = Task(steps.name, steps, num_steps=part, tame=steps.tamed)
        outputs = potential.evaluator(task, potential, *given)
        split = len(outputs) - len(_Totals._fields)
        moved, of_part = outputs[:split], _Totals(*outputs[split:])
        if done == 0 and not math.isfinite(float(of_part.start)):
            _check_start(kernel, position, potential, index)
        totals.append(of_part)
        done += part
    state: Any = kernel.state_type(*moved)
    step_size = state.step_size[:b]
    if curvature.shape[1] > 0:
        squares = _summed([part.squares for part in totals]) / num_steps
        learned = _learned(curvature, squares, time, c * num_steps)
        chains.curvature[index] = learned
        # The same steps as before in the typical direction: what changes is their proportions.
        step_size = step_size * (learned.mean(1) / curvature.mean(1)).sqrt()
    chains.position[index] = state.position.reshape(c, b, -1).transpose(0, 1)
    chains.step_size[index] = step_size
    chains.num_steps[index] = time + num_steps
    num_rates = _summed([part.num_rates for part in totals])
    return Visit(
        state.position,
        totals[-1].energy,
        _summed([part.rate_sum for part in totals]) / num_rates,
        _summed([part.num_diverging for part in totals]),
    )


MOST_EVALUATIONS = 16
"""Gradient evaluations that are compiled as one graph: twice as many take twice as long."""


TAME = 1e-3
"""Factor on step sizes with which a kernel's moves are nearly all accepted, and lead not far."""


def part_sizes(kernel: Kernel[Any], num_steps: int, compiles: bool) -> list[int]:
    """Return how many steps each graph makes: all, or about as many as may be compiled as one."""
    if not compiles:
        return [num_steps]
    most = max(1, MOST_EVALUATIONS // gradients_per_step(kernel))
    # Parts of one size where there is a good one: every other size is a graph more to compile.
    for size in range(min(most, num_steps), most // 2, -1):
        if num_steps % size == 0:
            return [size] * (num_steps // size)
    num_parts = math.ceil(num_steps / most)
    return [num_steps // num_parts + (p < num_steps % num_parts) for p in range(num_parts)]


def _check_start(
    kernel: Kernel[Any], position: Tensor, potential: Potential, index: Int64[Tensor, " b"]
) -> None:
    """Raise NonFiniteStartError if an energy or gradient is not finite, with the examples."""
    b = index.shape[0]
    rows = rows_not_finite(kernel, kernel.init(position, potential))
    if rows:
        examples = sorted({int(index[row % b]) for row in rows})
        raise NonFiniteStartError(
            f"the energy of example {examples[0]} is not finite ({len(examples)} of {b} examples "
            "of its batch): if this happens after some epochs, the parameters have diverged, "
            "lower the learning rate; if at once, look for values that the model cannot have "
            "produced",
            rows,
        )


class _Totals(NamedTuple):
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


def _summed(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


class _Steps:
    """Steps of a kernel with their noise and their adaptation, as one function of tensors.

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
        self.name = ("visit", Identity(kernel), num_chains, num_steps, starts, preconditioned)
        self._kernel = kernel
        self._num_chains = num_chains
        self._num_steps = num_steps
        self._starts = starts
        self._preconditioned = preconditioned

    def __call__(self, potential: Potential, *tensors: Tensor) -> tuple[Tensor, ...]:
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
        totals = _Totals(
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


def _learned(
    curvature: Float[Tensor, "b d"],
    squares: Float[Tensor, "b d"],
    time: Int64[Tensor, " b"],
    num_values: int,
) -> Float[Tensor, "b d"]:
    """Return the running curvature with the mean square of this many gradients taken in."""
    gain = online_gain(time, curvature.dtype)[:, None]
    # In logarithms, so that the huge gradients of the first steps are soon forgotten. Fewer
    # squares have a lower mean logarithm: of m normal ones by ψ(m/2) - log(m/2).
    m = torch.tensor(num_values / 2, dtype=torch.double)
    expected = float(torch.digamma(m) - m.log())
    # A gradient of zero, by rounding, must not give an infinite scale.
    return torch.lerp(curvature.log(), squares.clamp(min=1e-8).log() - expected, gain).exp()


SHRINKAGE = 10
"""Squared gradients' worth of belief that all latents of an example are equally stiff."""


def _scale(
    curvature: Float[Tensor, "b d"], time: Int64[Tensor, " b"], num_chains: int
) -> Float[Tensor, "b d"]:
    """Return the inverse root of the curvature, drawn towards its mean while it is uncertain."""
    # The gain is at least .02: no more than about 50 steps' worth is remembered.
    seen = (num_chains * time.clamp(max=50)).to(curvature)[:, None]
    mean = curvature.mean(1, keepdim=True)
    return ((seen * curvature + SHRINKAGE * mean) / (seen + SHRINKAGE)).rsqrt()
