"""The ladder of temperatures, spaced so that all neighbours swap equally often."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class LadderEstimate(NamedTuple):
    """Swap rejections between neighbours so far, pooled over an example's chains.

    Attributes
    ----------
    rejections, num_tried : Tensor, (n, K - 1)
        Their sum and number.
    """

    rejections: Float[Tensor, "n pairs"]
    num_tried: Float[Tensor, "n pairs"]


def start_ladder_estimate(beta: Float[Tensor, "n K"]) -> LadderEstimate:
    """Return the estimate before any swap."""
    zeros = torch.zeros_like(beta[:, 1:])
    return LadderEstimate(zeros, zeros)


def update_ladder_estimate(
    estimate: LadderEstimate, swap_rate: Float[Tensor, "c n pairs"]
) -> LadderEstimate:
    """Return the estimate with the last sweep added; a NaN is a pair that was not tried."""
    tried = ~swap_rate.isnan()
    return LadderEstimate(
        estimate.rejections + torch.where(tried, 1 - swap_rate, 0.0).sum(0),
        estimate.num_tried + tried.to(swap_rate.dtype).sum(0),
    )


def respaced(beta: Float[Tensor, "n K"], estimate: LadderEstimate) -> Float[Tensor, "n K"]:
    """Return the ladder on which the rejection rates, as estimated on this one, are all equal.

    The rejection rate between close temperatures is a length along the ladder, the same whatever
    the spacing; the new rungs divide its total evenly. Both ends stay.

    References
    ----------
    Syed et al. (2022), section 5.1: the communication barrier and its equal division.
    """
    rate = estimate.rejections / estimate.num_tried.clamp(min=1)
    # A small length for pairs that always swap keeps the map from rung to length invertible.
    length = torch.nn.functional.pad((rate + 1e-3).cumsum(1), (1, 0))
    rungs = beta.shape[1]
    share = torch.linspace(0, 1, rungs, dtype=beta.dtype, device=beta.device)
    wanted = share * length[:, -1:]
    after = torch.searchsorted(length.contiguous(), wanted.contiguous()).clamp(1, rungs - 1)
    low, high = length.gather(1, after - 1), length.gather(1, after)
    weight = (wanted - low) / (high - low)
    spaced = torch.lerp(beta.gather(1, after - 1), beta.gather(1, after), weight)
    spaced[:, 0], spaced[:, -1] = beta[:, 0], beta[:, -1]
    return spaced
