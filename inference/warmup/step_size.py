"""Step sizes that adapt to the acceptance rate, one for each example.

Both rules pool over the chains of one example only: a batch mate never matters.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def pool_chains(rate: Float[Tensor, " rows"], num_chains: int) -> Float[Tensor, " n"]:
    """Return the mean over each example's chains (chain-major rows), NaN left out."""
    return rate if num_chains == 1 else rate.reshape(num_chains, -1).nanmean(0)


def update_chain_rate(
    chain_rate: Float[Tensor, "c n"], rate: Float[Tensor, " rows"]
) -> Float[Tensor, "c n"]:
    """Return each chain's running acceptance rate with the last step's added; NaN changes nothing.

    Over about ten steps.
    """
    new = rate.reshape(chain_rate.shape)
    return torch.where(new.isnan(), chain_rate, 0.9 * chain_rate + 0.1 * new)


def pool_fairly(
    rate: Float[Tensor, " rows"], chain_rate: Float[Tensor, "c n"]
) -> Float[Tensor, " n"]:
    """Return the mean over each example's chains, weighted by the inverse of their running rate.

    A chain in a narrow place, where the step size that suits the others is never accepted, would
    stay there for good under a plain mean; so it has the louder voice. The weights come from
    earlier steps: they do not bias the rate of chains that are alike.
    """
    new = rate.reshape(chain_rate.shape)
    weight = torch.where(new.isnan(), 0.0, 1 / chain_rate.clamp(min=0.01))
    return (weight * new.nan_to_num()).sum(0) / torch.where(
        new.isnan().all(0), torch.nan, weight.sum(0)
    )


def online_gain(num_steps: Int64[Tensor, "*n"], dtype: torch.dtype) -> Float[Tensor, "*n"]:
    """Return ``max(0.02, (1 + t)^-0.6)``, t the steps that each example has made."""
    return (1 + num_steps).to(dtype).pow(-0.6).clamp(min=0.02)


def online_step_size(
    step_size: Float[Tensor, " n"],
    acceptance_rate: Float[Tensor, " n"],
    target: float,
    gain: Float[Tensor, " n"],
) -> Float[Tensor, " n"]:
    """Return step sizes moved a little towards the target: the learning loop's rule.

    ``log s += g (α - target)`` with g the :func:`online_gain`, which does not vanish, because the
    posterior goes on changing with θ. A rate of NaN changes nothing.

    References
    ----------
    Robbins & Monro (1951); Andrieu & Thoms, "A tutorial on adaptive MCMC" (2008), algorithm 4.
    """
    shift = (gain * (acceptance_rate - target)).nan_to_num(nan=0.0)
    return step_size * shift.exp()


class DualAveraging(NamedTuple):
    """State of the dual averaging of log step sizes, each field (n,)."""

    log_step_size: Float[Tensor, " n"]
    log_average: Float[Tensor, " n"]
    error_sum: Float[Tensor, " n"]
    shrinkage_point: Float[Tensor, " n"]
    num_updates: Float[Tensor, " n"]


def start_dual_averaging(step_size: Float[Tensor, " n"], optimism: float = 10.0) -> DualAveraging:
    """Return the state before the first update, shrinking towards ``optimism`` times the start."""
    log_step = step_size.log()
    zeros = torch.zeros_like(log_step)
    return DualAveraging(log_step, zeros, zeros, (optimism * step_size).log(), zeros)


def update_dual_averaging(
    state: DualAveraging,
    acceptance_rate: Float[Tensor, " n"],
    target: float,
    largest: float = math.inf,
) -> DualAveraging:
    """Return the state after one more step; where the rate is NaN, the state as it was.

    No step size is larger than ``largest``.

    References
    ----------
    Hoffman & Gelman, "The No-U-Turn Sampler" (2014), section 3.2.1, with Stan's t₀ = 10 and
    κ = 0.75, but γ = 0.1 instead of 0.05: with 0.05 the short restarts after a new mass ended with
    an acceptance up to 0.2 above the target.
    """
    count = state.num_updates + 1
    weight = 1 / (count + 10)
    error_sum = (1 - weight) * state.error_sum + weight * (target - acceptance_rate)
    log_step = state.shrinkage_point - error_sum * count.sqrt() / 0.1
    log_step = log_step.clamp(max=math.log(largest))
    forget = count.pow(-0.75)
    log_average = forget * log_step + (1 - forget) * state.log_average
    new = DualAveraging(log_step, log_average, error_sum, state.shrinkage_point, count)
    known = ~acceptance_rate.isnan()
    return DualAveraging(*(torch.where(known, a, b) for a, b in zip(new, state, strict=True)))
