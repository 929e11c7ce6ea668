"""A colour image without its colours."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..pieces import Entry
from .base import Context, LinearOperator

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of ITU-R BT.601."""


class Greyscale(LinearOperator):
    """The luma ``.299 R + .587 G + .114 B`` of each pixel.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one example's image, (3, ...): red, green and blue first.

    Raises
    ------
    ValueError
        If the first dimension is not 3.

    References
    ----------
    ITU-R Recommendation BT.601.
    """

    entry = Entry(
        "A x = .299 R + .587 G + .114 B",
        "ITU-R BT.601",
        "operators.Greyscale((3, 8, 8))",
        (1, 8, 8),
    )

    weights: Tensor

    def __init__(self, input_shape: Sequence[int]) -> None:
        if tuple(input_shape)[:1] != (3,):
            raise ValueError(
                f"input_shape must be (3, ...), red, green and blue first, got {tuple(input_shape)}"
            )
        super().__init__(input_shape, (1, *tuple(input_shape)[1:]))
        weights = torch.tensor(LUMA, dtype=torch.get_default_dtype())
        # (3, 1, ...), beside one example.
        self.register_buffer("weights", weights.reshape(3, *(1 for _ in self.input_shape[1:])))

    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        return (self.weights * x).sum(1, keepdim=True)

    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        return self.weights * y
