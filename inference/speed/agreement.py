"""Whether two ways to evaluate a model give the same numbers, up to rounding."""

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDING = 1e-4
"""Relative difference that sums of thousands of float32 products in another order may have."""

OTHER_ARITHMETIC = 1e-2
"""Relative difference of gradients that a few rectifiers make which round to the other side.

.002 was seen of a 64x64 deconvnet of width 128.
"""


FEW_ROWS = 16
"""Rows up to which none may be off: one of them would be too large a share."""


def agree(some: Sequence[Tensor], others: Sequence[Tensor], tolerance: float = ROUNDING) -> bool:
    """Return whether all tensors are equal but for rounding."""
    return all(_close(a, b, tolerance) for a, b in zip(some, others, strict=True))


def mostly_agree(some: Sequence[Tensor], others: Sequence[Tensor], tolerance: float) -> bool:
    """Return whether all but a few of many rows agree, as those of other arithmetic do.

    A proposal may be only just accepted. A rectifier whose input is zero but for rounding is open
    in one arithmetic and shut in the other, which moves its row of the gradient by little, but by
    more than rounding: one in some millions is, and a batch of images has that many.

    Parameters
    ----------
    some, others : sequence of Tensor
        Results, each leading with the example if it has a dimension.
    tolerance : float
        Relative to an element and to the largest one of its tensor.
    """
    return all(_mostly_close(a, b, tolerance) for a, b in zip(some, others, strict=True))


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if not a.is_floating_point():
        return torch.equal(a, b)
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance * _largest(b), equal_nan=True)


def _mostly_close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if not a.is_floating_point():
        a, b = a.double(), b.double()
    atol = tolerance * _largest(b) + 1e-12
    apart = ~torch.isclose(a, b, rtol=tolerance, atol=atol, equal_nan=True)
    rows = apart.reshape(len(apart), -1).any(1) if apart.dim() else apart
    allowed = 0 if rows.numel() < FEW_ROWS else max(1, rows.numel() // 50)
    return int(rows.sum()) <= allowed


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().nan_to_num(posinf=0.0).max()) if tensor.numel() else 0.0
