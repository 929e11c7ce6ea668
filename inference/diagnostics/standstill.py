"""Chains that do not move, where rejections alone do not explain it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STUCK = 0.01
"""Mean acceptance rate below which nothing moves."""

FEWEST = 4
"""Draws from which on the best chain of an example tells an acceptance rate."""


def frozen_chains(
    still: Bool[Tensor, "chains n"],
    acceptance_rate: Float[Tensor, "chains draws n"] | None,
    num_proposals: int,
    chance: float,
) -> Bool[Tensor, "chains n"]:
    """Return which of the chains that stand still are at fault.

    By the acceptance rate of an example's best chain, its others would hardly ever stand still so
    long (of fewer than 4 draws, by the chain's own rates); or no chain of the example has a rate
    that lets it move.

    Parameters
    ----------
    still : bool Tensor, (chains, n)
        Whether a chain never moved.
    acceptance_rate : Tensor, (chains, draws, n), optional
        Of its proposals; NaN, and no tensor, mean that every proposal is accepted.
    num_proposals : int
        From the first draw to the last.
    chance : float
        Of one false alarm among all chains.
    """
    if acceptance_rate is None:
        return still
    rates = acceptance_rate.to(still.device).nan_to_num(1.0).double()
    rate = rates.mean(1).amax(0)
    if rates.shape[1] < FEWEST:
        # The largest of a few rates is no estimate; what stood still so improbably is one.
        standing = torch.log1p(-rates[:, 1:].clamp(max=1 - 1e-15)).sum(1)
    else:
        standing = num_proposals * torch.log1p(-rate.clamp(max=1 - 1e-9))
    improbable = standing < torch.log(torch.tensor(chance / still.numel(), dtype=torch.float64))
    return still & (improbable | (rate < STUCK))
