"""A linear layer whose weights cannot be negative."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus


class NonNegativeLinear(nn.Module):
    """``x -> x Wᵀ + b`` with ``W = softplus(raw_weight)`` and ``b = softplus(raw_bias)``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the input and of the output.
    bias : bool, default True
        Whether there is a b.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        # Weights around 1 / √in_features, as wide as nn.Linear's, all different.
        start = torch.empty(out_features, in_features).uniform_(0.1, 2.0) / math.sqrt(in_features)
        self.raw_weight = nn.Parameter(_inverse_softplus(start))
        self.raw_bias = nn.Parameter(torch.full((out_features,), -3.0)) if bias else None

    @property
    def weight(self) -> Tensor:
        """Non-negative weights, (out_features, in_features)."""
        return softplus(self.raw_weight)

    @property
    def bias(self) -> Tensor | None:
        """Non-negative offsets, (out_features,), or None."""
        return None if self.raw_bias is None else softplus(self.raw_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (n, out_features) of inputs (n, in_features)."""
        return linear(x, self.weight, self.bias)


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + (-torch.expm1(-value)).log()
