"""The one warning about draws that should not be trusted."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from .described import counted
from .summary import Summary

CHANCE = 1e-6
"""Of standing still by rejections alone, below which chains are said to have stopped."""


class SamplingWarning(UserWarning):
    """Draws that should not be trusted as they are; the message names what is wrong."""


def warn_of_problems(
    summary: Summary, step_size: Tensor, more: tuple[str, ...] = (), stacklevel: int = 3
) -> None:
    """Warn once of all that is wrong with draws, if anything is."""
    problems = [*more, *summary.problems()]
    collapsed = step_size < 1e-5
    if bool(collapsed.any()):
        problems.append(
            f"the step size fell below 1e-5 in {counted(int(collapsed.sum()), 'example')} (first: "
            f"{int(torch.nonzero(collapsed)[0])}): a latent's scale is far from 1, or the "
            "likelihood has a kink or a wall there; rescale the data or the prior"
        )
    if problems:
        warnings.warn(
            "the draws cannot be trusted yet:\n- " + "\n- ".join(problems),
            SamplingWarning,
            stacklevel=stacklevel + 1,
        )


def stale_chains(stale: Sequence[tuple[int, int, float, float]]) -> tuple[str, ...]:
    """Return a sentence about (example, chain, kept energy, energy) that do not agree."""
    if not stale:
        return ()
    example, chain, kept, now = stale[0]
    return (
        f"the energies kept of {counted(len(stale), 'chain')} do not fit the positions, "
        f"(example, chain) {[(one[0], one[1]) for one in stale[:5]]} ({kept:.6g} nats "
        f"kept, {now:.6g} evaluated in "
        f"example {example}, chain {chain}): the model, its data or a tensor that it reads have "
        "changed while it was sampled, or rounding is too coarse; sample afresh",
    )


def stopped_chains(
    before: Tensor, further: Tensor, rate: Tensor, thinning: int = 1
) -> tuple[str, ...]:
    """Return a sentence about chains that moved before and stand still in further draws.

    Parameters
    ----------
    before, further : Tensor, (chains, draws, n, d)
        Draws.
    rate : Tensor, (chains, draws, n)
        Acceptance rates of those before.
    thinning : int, default 1
        Proposals for each draw.
    """
    moved = (before != before[:, :1]).flatten(3).any(3).any(1)
    still = (further == before[:, -1:]).flatten(3).all(3).all(1)
    chance = (1 - rate.mean(1).clamp(0.05, 0.95)) ** (further.shape[1] * thinning)
    found = torch.nonzero((moved & still & (chance < CHANCE)).T).tolist()
    if not found:
        return ()
    pairs = [(example, chain) for example, chain in found[:5]]
    return (
        f"{counted(len(found), 'chain')} stopped moving in the further draws, (example, chain) "
        f"{pairs}: look at their examples' data and step sizes, and whether the model has changed",
    )
