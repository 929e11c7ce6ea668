"""Warmup: step sizes and masses adapt together, each example for itself."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..kernels.base import Info, Kernel, largest_step_size
from ..kernels.scale import Mass, resolved_mass
from ..kernels.tempering import ParallelTempering, ParallelTemperingState
from .ladder import LadderEstimate, respaced, start_ladder_estimate, update_ladder_estimate
from .mass import MassEstimate, estimated_scale, start_mass_estimate, update_mass_estimate
from .step_size import (
    DualAveraging,
    pool_fairly,
    start_dual_averaging,
    update_chain_rate,
    update_dual_averaging,
)

FIRST_WINDOW = 25
STEP_SIZE_AFTER_MASS = 1.0
"""The posterior has about unit scale then; from 2 on a step would be unstable."""


class WarmupState(NamedTuple):
    """What warmup has learned so far; None for what the kernel does not adapt.

    ``chain_rate`` (c, n) is each chain's running acceptance rate.
    """

    step_size: DualAveraging
    chain_rate: Float[Tensor, "c n"]
    moments: MassEstimate | None
    ladder: LadderEstimate | None


def mass_windows(num_steps: int) -> list[int]:
    """Return the steps at which the windows of mass adaptation begin and end.

    Stan's plan: a first part, at most 75 steps, for the step size alone, then windows of 25, 50,
    100, ... steps, each with a fresh estimate, and at most 50 steps for the step size at the end.
    Shorter warmups keep the proportions 15 : 75 : 10, with at least 10 steps at the end; below 40
    steps the mass is left alone.

    References
    ----------
    Stan reference manual, "HMC algorithm parameters: automatic parameter tuning".
    """
    if num_steps < 40:
        return []
    begin, tail = min(75, round(0.15 * num_steps)), min(50, max(10, round(0.1 * num_steps)))
    last = num_steps - tail
    edges, window = [begin], min(FIRST_WINDOW, last - begin)
    while edges[-1] < last:
        # A window that could not be followed by one of twice its size takes what is left.
        following = edges[-1] + window
        edges.append(following if following + 2 * window <= last else last)
        window *= 2
    return edges


def start_warmup(kernel: Kernel[Any], state: Any, num_chains: int) -> WarmupState:
    """Return the adaptation before the first step; ``state`` has chain-major rows."""
    if isinstance(kernel, ParallelTempering):
        n = state.position.shape[0] // num_chains
        inner = start_warmup(*kernel.adapted(state), num_chains)
        return inner._replace(ladder=start_ladder_estimate(state.beta[:n]))
    n = state.position.shape[0] // num_chains
    first = state.position[:n]
    mass = adapted_mass(kernel, first.shape[1])
    return WarmupState(
        start_dual_averaging(state.step_size[:n]),
        torch.full_like(state.step_size, kernel.target_acceptance).reshape(num_chains, n),
        None if mass == "identity" else start_mass_estimate(first, num_chains, mass),
        None,
    )


def adapt(
    kernel: Kernel[Any],
    state: Any,
    warmup: WarmupState,
    info: Info,
    num_chains: int,
    step: int,
    num_steps: int,
) -> tuple[Any, WarmupState]:
    """Return the state tuned by the warmup step that has just been made, and the adaptation.

    ``state`` has chain-major rows, ``num_chains`` for each example. After the last of the
    ``num_steps`` steps everything is frozen at its average.
    """
    if isinstance(kernel, ParallelTempering):
        return _adapt_tempering(kernel, state, warmup, info, num_chains, step, num_steps)
    edges = mass_windows(num_steps)
    last = step == num_steps - 1
    if kernel.step_size == "auto":
        rate = pool_fairly(info.acceptance_rate, warmup.chain_rate)
        chain_rate = update_chain_rate(warmup.chain_rate, info.acceptance_rate)
        averaging = update_dual_averaging(
            warmup.step_size, rate, kernel.target_acceptance, largest_step_size(kernel)
        )
        log_step = averaging.log_average if last else averaging.log_step_size
        state = state._replace(step_size=log_step.exp().repeat(num_chains))
        warmup = warmup._replace(step_size=averaging, chain_rate=chain_rate)
    if warmup.moments is not None and edges and edges[0] <= step < edges[-1]:
        state, warmup = _adapt_mass(kernel, state, warmup, num_chains, edges, step)
    return state, warmup


def _adapt_tempering(
    kernel: ParallelTempering,
    state: ParallelTemperingState,
    warmup: WarmupState,
    info: Info,
    num_chains: int,
    step: int,
    num_steps: int,
) -> tuple[ParallelTemperingState, WarmupState]:
    """Adapt every replica as an example of its own, and the ladder at the ends of windows."""
    inner, rows = kernel.adapted(state)
    info = info._replace(acceptance_rate=state.acceptance_rate.flatten())
    rows, warmup = adapt(inner, rows, warmup, info, num_chains, step, num_steps)
    state = kernel.with_adapted(state, rows)
    edges = mass_windows(num_steps)
    if kernel.step_size != "auto" or not edges or not edges[0] <= step < edges[-1]:
        return state, warmup
    assert warmup.ladder is not None
    ladder = update_ladder_estimate(warmup.ladder, _by_chain(state.swap_rate, num_chains))
    if step + 1 in edges:
        n = state.beta.shape[0] // num_chains
        beta = respaced(state.beta[:n], ladder)
        state = state._replace(beta=beta.repeat(num_chains, 1))
        ladder = start_ladder_estimate(beta)
    return state, warmup._replace(ladder=ladder)


def adapted_mass(kernel: Kernel[Any], latent_dim: int) -> Mass:
    """Return the mass that is adapted; with a fixed step size none."""
    if kernel.step_size != "auto":
        return "identity"
    return resolved_mass(getattr(kernel, "mass", "identity"), latent_dim)


def _adapt_mass(
    kernel: Kernel[Any],
    state: Any,
    warmup: WarmupState,
    num_chains: int,
    edges: list[int],
    step: int,
) -> tuple[Any, WarmupState]:
    """Add the present positions to the window; at its end put the mass that they give in place."""
    assert warmup.moments is not None
    n = state.position.shape[0] // num_chains
    moments = warmup.moments
    if step in edges:
        mass = adapted_mass(kernel, state.position.shape[1])
        moments = start_mass_estimate(state.position[:n], num_chains, mass)
    moments = update_mass_estimate(
        moments, _by_chain(state.position, num_chains), _by_chain(state.gradient, num_chains)
    )
    if step + 1 in edges:
        scale = estimated_scale(moments)
        step_size = warmup.step_size.log_average.exp()
        if step + 1 == edges[1]:
            step_size = torch.full_like(step_size, STEP_SIZE_AFTER_MASS)
        state = state._replace(
            scale=scale.repeat(num_chains, *[1] * (scale.dim() - 1)),
            step_size=step_size.repeat(num_chains),
        )
        averaging = start_dual_averaging(step_size, optimism=1.0)
        warmup = warmup._replace(step_size=averaging)
    return state, warmup._replace(moments=moments)


def _by_chain(value: Tensor, num_chains: int) -> Tensor:
    return value.reshape(num_chains, -1, *value.shape[1:])
