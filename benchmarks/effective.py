"""Effective draws a second of warmed-up samplers, in turn.

Timing and statistics are kept apart. Each sampler is warmed up once, then goes on with its chains
for a few draws at a time, in turn with the others; those draws alone are timed. How many effective
draws a draw is worth does not depend on the machine, but its estimate needs long chains: on short
ones it comes out too high. So it is estimated once, from all draws of a sampler joined.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from explainaway.inference import SamplingWarning, sample_posterior
from explainaway.inference.diagnostics.convergence import rhat_and_ess

from .cases import Case
from .paired import Ratio


class Draws(NamedTuple):
    """What a warmed-up sampler gives when it goes on.

    Attributes
    ----------
    position : Tensor, (chains, draws, n, d)
        The further draws.
    seconds : float
        What they took.
    """

    position: Tensor
    seconds: float


Sampler = Callable[[], Draws]
"""Goes on with its chains at every call."""


def mean_ess(draws: Tensor) -> float:
    """Return the mean bulk ESS over all latents of draws (chains, draws, n, d)."""
    _, ess = rhat_and_ess(draws)
    return float(ess.nan_to_num().mean())


def effective_ratios(theirs: Sampler, ours: Mapping[str, Sampler], pairs: int) -> dict[str, Ratio]:
    """Return by name the effective draws a second of each of ours over those of theirs.

    Parameters
    ----------
    theirs, ours : callable
        Warmed-up samplers.
    pairs : int
        Rounds, in which everyone goes on once; every other round in reverse order.
    """
    samplers: dict[str, Sampler] = {"": theirs, **ours}
    found: dict[str, list[Draws]] = {name: [] for name in samplers}
    for number in range(pairs):
        for name in list(samplers)[:: -1 if number % 2 else 1]:
            found[name].append(samplers[name]())
    # Seconds for an effective draw, round by round.
    costs = {
        name: [one.seconds / (one.position.shape[1] * worth) for one in draws]
        for name, draws in found.items()
        for worth in [_worth(draws)]
    }
    return {name: Ratio.of(list(zip(costs[""], costs[name], strict=True))) for name in ours}


def _worth(draws: list[Draws]) -> float:
    """Return the effective draws in one draw of all chains."""
    joined = torch.cat([one.position for one in draws], 1)
    return mean_ess(joined) / joined.shape[1]


def warmed_up(
    case: Case, kernel: Any, compile: bool, num_chains: int, warmup_steps: int, num_draws: int
) -> Sampler:
    """Return our sampler of a case, which goes on by ``num_draws`` draws of every chain."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = sample_posterior(
            case.model(),
            case.y,
            kernel=kernel,
            num_chains=num_chains,
            warmup_steps=warmup_steps,
            num_samples=num_draws,
            compile=compile,
            progress=False,
        )

    def further() -> Draws:
        nonlocal posterior
        before = posterior.seconds
        posterior = posterior.extend(num_draws, progress=False)
        return Draws(posterior.position[:, -num_draws:], posterior.seconds - before)

    return further


def timed(draw: Callable[[], Tensor]) -> Sampler:
    """Return a sampler from a function that makes further draws (chains, draws, n, d)."""

    def further() -> Draws:
        began = time.perf_counter()
        position = draw()
        return Draws(position, time.perf_counter() - began)

    return further
