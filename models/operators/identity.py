"""The operator that changes nothing."""

from collections.abc import Sequence

from torch import Tensor

from ..pieces import Entry
from .base import Context, LinearOperator


class Identity(LinearOperator):
    """``A x = x``: direct observation, and the neutral element of ``@``.

    Parameters
    ----------
    shape : sequence of int
        Shape of one example's signal.
    """

    entry = Entry("A x = x", "", "operators.Identity((8,))", (8,))

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape, shape)

    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        return x

    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        return y
