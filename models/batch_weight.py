"""How much a batch weighs in the running means of closed-form learning."""

from torch import Tensor

EXPONENT = 0.6
"""How fast the weights of batches fall. EM with latents moves a part of the way in each step: with
weights 1/t it would stall, below an exponent of 1 it arrives."""

SLOWEST = 0.02
"""Least weight: the network under the residuals goes on changing."""


def batch_weight(number: Tensor, least: float = SLOWEST) -> Tensor:
    """Return the weight of the batch of a number, counted from 1.

    References
    ----------
    Cappé & Moulines, "On-line expectation-maximization algorithm for latent data models" (2009),
    section 3, for the exponent.
    """
    return (number.double() ** -EXPONENT).clamp(min=least)
