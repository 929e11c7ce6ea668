"""The optimizer of θ where the user names none."""

from collections.abc import Sequence

import torch
from torch import Tensor

LEARNING_RATE = 1e-3


def default_optimizer(parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Return Adam with learning rate 1e-3, as one operation where that is possible.

    Otherwise each parameter takes a dozen small operations. The one operation wants real parameters
    of one kind whose memory has no gaps, so that gradients and moments can lie as they do.

    Parameters
    ----------
    parameters : sequence of Tensor
        θ.
    """
    kinds = {(parameter.dtype, parameter.device.type) for parameter in parameters}
    fused = (
        len(kinds) == 1
        and all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
        and all(torch.empty_like(p).stride() == p.stride() for p in parameters)
    )
    return torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=fused)
