"""The warm-started chains of all examples, found by example index."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .adaptation import online_gain, online_step_size, pool_chains
from .data import Identity
from .kernel import Kernel, NonFiniteStartError, full_step_size, largest_step_size
from .noise import KeyedSource, keyed_generator
from .noise_ahead import NoiseAhead
from .potential import Potential
from .warmup import adapted_mass


@dataclass
class Chains:
    """Where the chains of n examples stand, c for each.

    Attributes
    ----------
    position : Tensor, (n, c, d)
        Unconstrained latents.
    step_size : Tensor, (n,)
        One for all chains of an example.
    num_steps : int64 Tensor, (n,)
        Steps that each example's chains have made: the time in its random stream.
    curvature : Tensor, (n, d) or (n, 0)
        Running geometric mean of the squared gradient, whose inverse root is the scale of the next
        visit; empty for kernels without a mass.
    """

    position: Float[Tensor, "n c d"]
    step_size: Float[Tensor, " n"]
    num_steps: Int64[Tensor, " n"]
    curvature: Float[Tensor, "n k"]

    @staticmethod
    def start(position: Float[Tensor, "n c d"], kernel: Kernel[Any]) -> "Chains":
        """Return chains that have not moved yet."""
        return Chains(
            position,
            full_step_size(kernel.step_size, position[:, 0]),
            torch.zeros(position.shape[0], dtype=torch.int64, device=position.device),
            torch.ones_like(position[:, 0, : _num_curvatures(kernel, position.shape[2])]),
        )

    @staticmethod
    def mapped(file: Path, shape: tuple[int, int, int], kernel: Kernel[Any]) -> "Chains":
        """Return chains whose positions lie in a file that is mapped into memory.

        A visit reads and writes the pages of its own examples; the others stay on disk. A file that
        is there already is taken as it is.
        """
        size = math.prod(shape)
        dtype = torch.get_default_dtype()
        position = torch.from_file(str(file), shared=True, size=size, dtype=dtype).reshape(shape)
        step_size = full_step_size(kernel.step_size, torch.empty(shape[0], 1))
        curvature = torch.ones(shape[0], _num_curvatures(kernel, shape[2]))
        return Chains(position, step_size, torch.zeros(shape[0], dtype=torch.int64), curvature)

    @property
    def num_chains(self) -> int:
        """Number of chains of each example, c."""
        return self.position.shape[1]

    def to_dict(self) -> dict[str, Tensor]:
        """Return the tensors, for a checkpoint."""
        return {
            "position": self.position,
            "step_size": self.step_size,
            "num_steps": self.num_steps,
            "curvature": self.curvature,
        }


def _num_curvatures(kernel: Kernel[Any], latent_dim: int) -> int:
    return 0 if adapted_mass(kernel, latent_dim) == "identity" else latent_dim


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
    step_size = chains.step_size[index]
    time = chains.num_steps[index]
    source = KeyedSource.of_chains(seed, index, c)
    try:
        state = kernel.init(position, potential)._replace(step_size=step_size.repeat(c))
    except NonFiniteStartError as error:
        examples = sorted({int(index[row % b]) for row in error.rows})
        raise NonFiniteStartError(
            f"the energy of example {examples[0]} is not finite ({len(examples)} of {b} examples "
            "of its batch): if this happens after some epochs, the parameters have diverged, "
            "lower the learning rate; if at once, look for values that the model cannot have "
            "produced",
            error.rows,
        ) from None
    curvature = chains.curvature[index]
    preconditioned = curvature.shape[1] > 0
    if preconditioned:
        state = state._replace(scale=_scale(curvature, time, c).repeat(c, 1))
    state_type = type(state)
    name = ("visit", Identity(kernel), state_type, c, preconditioned)
    ahead = None if potential.compiles else NoiseAhead(source.key)
    moved = _stepper(kernel, state_type, c, preconditioned, num_steps, ahead)
    zeros = torch.zeros_like(state.step_size)
    # Of each chain: summed over the steps here, over the chains at the end.
    tally = (torch.zeros_like(curvature), zeros, zeros, zeros, zeros)
    *fields, time, _, squares, rates, num_rates, energy, diverging = potential.iterated(
        name, moved, num_steps, *state, time, source.key, *tally
    )
    state = state_type(*fields)
    step_size = state.step_size[:b]
    if preconditioned:
        gain = online_gain(time - num_steps)[:, None].to(curvature)
        # In logarithms, so that the huge gradients of the first steps are soon forgotten. Fewer
        # squares have a lower mean logarithm: of m normal ones by ψ(m/2) - log(m/2).
        m = torch.tensor(c * num_steps / 2, dtype=torch.double)
        expected = float(torch.digamma(m) - m.log())
        # A gradient of zero, by rounding, must not give an infinite scale.
        seen = (squares / num_steps).clamp(min=1e-8).log() - expected
        learned = torch.lerp(curvature.log(), seen, gain).exp()
        chains.curvature[index] = learned
        # The same steps as before in the typical direction: what changes is their proportions.
        step_size = step_size * (learned.mean(1) / curvature.mean(1)).sqrt()
    chains.position[index] = state.position.reshape(c, b, -1).transpose(0, 1)
    chains.step_size[index] = step_size
    chains.num_steps[index] = time
    return Visit(
        state.position,
        energy.mean(),
        rates.sum() / num_rates.sum(),
        diverging.sum().long(),
    )


def _stepper(
    kernel: Kernel[Any],
    state_type: type[Any],
    num_chains: int,
    preconditioned: bool,
    num_steps: int,
    ahead: NoiseAhead | None,
) -> Callable[..., tuple[Tensor, ...]]:
    """Return a step with its noise, its adaptation and its tally as one function of tensors.

    With noise drawn ahead it is a function of ``num_steps`` calls in order.
    """
    c, left = num_chains, num_steps

    def step(potential: Potential, *tensors: Tensor) -> tuple[Tensor, ...]:
        nonlocal left
        *fields, time, key, squares, rates, num_rates, _, diverging = tensors
        left -= 1
        now = _for_each_chain(time, c)
        generator = keyed_generator(key, now) if ahead is None else ahead.at(now, left)
        state, info = kernel.step(state_type(*fields), potential, generator)
        if kernel.step_size == "auto":
            step_size = online_step_size(
                state.step_size[: len(time)],
                pool_chains(info.acceptance_rate, c),
                kernel.target_acceptance,
                time,
            ).clamp(max=largest_step_size(kernel))
            state = state._replace(step_size=_for_each_chain(step_size, c))
        if preconditioned:
            squares = squares + (state.gradient**2).reshape(c, len(time), -1).mean(0)
        known = ~info.acceptance_rate.isnan()
        return (
            *state,
            time + 1,
            key,
            squares,
            rates + info.acceptance_rate.nan_to_num(),
            num_rates + known,
            info.potential_energy,
            diverging + info.diverging,
        )

    return step


def _for_each_chain(value: Tensor, num_chains: int) -> Tensor:
    """Return values (b,) of examples for all their chains, (c b,)."""
    return value if num_chains == 1 else value.repeat(num_chains)


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
