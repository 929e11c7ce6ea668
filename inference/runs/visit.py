"""A visit to the chains of a minibatch: some steps, what they adapt, and their totals."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..kernels.base import Kernel
from ..kernels.capabilities import gradients_per_step, largest_step_size
from ..kernels.starts import NonFiniteStartError, rows_not_finite
from ..potentials.potential import Potential
from ..warmup.step_size import online_gain
from .chains import Chains
from .steps import Steps, Totals

MOST_EVALUATIONS = 16
"""Gradient evaluations that are compiled as one graph: twice as many take twice as long."""


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
    position = chains.at(index).transpose(0, 1).reshape(c * b, -1)
    step_size, time, curvature = (
        field[index] for field in (chains.step_size, chains.num_steps, chains.curvature)
    )
    key = chains.keys(seed, index)
    moved: Sequence[Tensor] = (position, step_size, curvature)
    totals: list[Totals] = []
    done = 0
    for part in part_sizes(kernel, num_steps, potential.evaluator.compiles):
        steps = Steps(kernel, c, part, done == 0, curvature.shape[1] > 0)
        outputs = potential.evaluator(steps.task, potential, *moved, time + done, key)
        split = len(outputs) - len(Totals._fields)
        moved, of_part = outputs[:split], Totals(*outputs[split:])
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
        step_size = step_size.clamp(max=largest_step_size(kernel))
    chains.put(index, state.position.reshape(c, b, -1).transpose(0, 1))
    chains.step_size[index] = step_size
    chains.num_steps[index] = time + num_steps
    num_rates = _summed([part.num_rates for part in totals])
    return Visit(
        state.position,
        totals[-1].energy,
        _summed([part.rate_sum for part in totals]) / num_rates,
        _summed([part.num_diverging for part in totals]),
    )


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


def _summed(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


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
