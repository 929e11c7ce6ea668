"""Warmup: step sizes and masses adapt together, each example for itself."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..kernels.base import Info, Kernel
from ..kernels.capabilities import (
    adapted,
    is_tempered,
    largest_step_size,
    mass_of,
    with_adapted,
)
from ..kernels.scale import Mass, resolved_mass
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
    ladder = None
    if is_tempered(kernel):
        ladder = start_ladder_estimate(state.beta[: len(state.beta) // num_chains])
    unknown = torch.full_like(state.step_size, torch.nan)
    inner, rows, _ = adapted(kernel, state, unknown)
    n = rows.position.shape[0] // num_chains
    first = rows.position[:n]
    mass = adapted_mass(inner, first.shape[1])
    return WarmupState(
        start_dual_averaging(rows.step_size[:n]),
        torch.full_like(rows.step_size, inner.target_acceptance).reshape(num_chains, n),
        None if mass == "identity" else start_mass_estimate(first, num_chains, mass),
        ladder,
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

    ``state`` has chain-major rows, ``num_chains`` for each example; replicas adapt as if each were
    an example of its own. After the last of the ``num_steps`` steps everything is frozen at its
    average.
    """
    if kernel.step_size != "auto":
        return state, warmup
    inner, rows, rate = adapted(kernel, state, info.acceptance_rate)
    rows, warmup = _adapt_step_size(
        inner, rows, warmup, rate, num_chains, last=step == num_steps - 1
    )
    edges = mass_windows(num_steps)
    within = bool(edges) and edges[0] <= step < edges[-1]
    if within and warmup.moments is not None:
        rows, warmup = _adapt_mass(inner, rows, warmup, num_chains, edges, step)
    state = with_adapted(kernel, state, rows)
    if within and warmup.ladder is not None:
        state, ladder = _adapt_ladder(state, warmup.ladder, num_chains, ends=step + 1 in edges)
        warmup = warmup._replace(ladder=ladder)
    return state, warmup


def _adapt_step_size(
    kernel: Kernel[Any],
    state: Any,
    warmup: WarmupState,
    acceptance_rate: Float[Tensor, " rows"],
    num_chains: int,
    last: bool,
) -> tuple[Any, WarmupState]:
    rate = pool_fairly(acceptance_rate, warmup.chain_rate)
    averaging = update_dual_averaging(
        warmup.step_size, rate, kernel.target_acceptance, largest_step_size(kernel)
    )
    log_step = averaging.log_average if last else averaging.log_step_size
    return state._replace(step_size=log_step.exp().repeat(num_chains)), warmup._replace(
        step_size=averaging, chain_rate=update_chain_rate(warmup.chain_rate, acceptance_rate)
    )


def _adapt_ladder(
    state: Any, ladder: LadderEstimate, num_chains: int, ends: bool
) -> tuple[Any, LadderEstimate]:
    """Add the last swaps to the window; at its end space the ladder by them."""
    ladder = update_ladder_estimate(ladder, _by_chain(state.swap_rate, num_chains))
    if not ends:
        return state, ladder
    beta = respaced(state.beta[: len(state.beta) // num_chains], ladder)
    return state._replace(beta=beta.repeat(num_chains, 1)), start_ladder_estimate(beta)


def adapted_mass(kernel: Kernel[Any], latent_dim: int) -> Mass:
    """Return the mass that is adapted; with a fixed step size none."""
    if kernel.step_size != "auto":
        return "identity"
    return resolved_mass(mass_of(kernel), latent_dim)


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
            first = min(STEP_SIZE_AFTER_MASS, largest_step_size(kernel))
            step_size = torch.full_like(step_size, first)
        state = state._replace(
            scale=scale.repeat(num_chains, *[1] * (scale.dim() - 1)),
            step_size=step_size.repeat(num_chains),
        )
        averaging = start_dual_averaging(step_size, optimism=1.0)
        warmup = warmup._replace(step_size=averaging)
    return state, warmup._replace(moments=moments)


def _by_chain(value: Tensor, num_chains: int) -> Tensor:
    return value.reshape(num_chains, -1, *value.shape[1:])
