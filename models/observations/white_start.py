"""Noise that starts white: when its covariance begins to follow the residual, and how fast."""

import torch
from torch import Tensor, nn

from ..arguments import is_integer
from ..batch_weight import batch_weight


class WhiteStart(nn.Module):
    """Count batches and say how much each weighs.

    Correlated noise that is learned from the start explains what the network should learn: at first
    all of the data are residual.

    Parameters
    ----------
    white_batches : int
        Batches that weigh nothing, 0 or more.

    Raises
    ------
    ValueError
        If it is not.
    """

    num_batches: Tensor

    def __init__(self, white_batches: int) -> None:
        super().__init__()
        if not is_integer(white_batches) or white_batches < 0:
            raise ValueError(f"white_batches must be an integer, 0 or more, got {white_batches!r}")
        self.white_batches = white_batches
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def next_rate(self) -> float:
        """Count a batch and return its weight in running means, 0 as long as noise stays white."""
        self.num_batches += 1
        after = self.num_batches - self.white_batches
        return float(batch_weight(after)) if int(after) > 0 else 0.0
