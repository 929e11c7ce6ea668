"""A matrix for each example."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import first_place
from ..pieces import Entry
from .base import Context, LinearOperator


class PerExample(LinearOperator):
    """A matrix of its own for each example, ``A_i x_i``, that travels with the data.

    Parameters
    ----------
    input_shape, output_shape : sequence of int
        Shapes of one example's signal, d cells, and of its measurements, m cells.
    key : str, default "operator"
        ``context[key]`` holds the matrices, (n, m, d).

    Examples
    --------
    >>> import torch
    >>> from explainaway.models.operators import PerExample
    >>> matrices = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])
    >>> PerExample((2,), (1,))(torch.ones(2, 2), {"operator": matrices})
    tensor([[1.],
            [2.]])
    """

    entry = Entry("A_i x_i, A_i = context[key][i]", "", "operators.PerExample((8,), (6,))", (6,))

    def __init__(
        self, input_shape: Sequence[int], output_shape: Sequence[int], key: str = "operator"
    ) -> None:
        super().__init__(input_shape, output_shape)
        if not isinstance(key, str):
            raise TypeError(f"key must be a string, got {key!r}")
        self.key = key

    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        matrices = self._matrices(x.shape[0], context)
        measured = torch.einsum("nmd,nd->nm", matrices, x.flatten(1))
        return measured.reshape(-1, *self.output_shape)

    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        matrices = self._matrices(y.shape[0], context)
        signal = torch.einsum("nmd,nm->nd", matrices, y.flatten(1))
        return signal.reshape(-1, *self.input_shape)

    def validate(self, num_examples: int, context: Context | None) -> None:
        """Raise ValueError if the matrices are missing, or not of finite numbers in their shape."""
        matrices = self._matrices(num_examples, context)
        if not bool(matrices.isfinite().all()):
            place = list(first_place(~matrices.isfinite()))
            raise ValueError(f"context[{self.key!r}]{place} must be finite")

    def _matrices(self, num_examples: int, context: Context | None) -> Tensor:
        if context is None or self.key not in context:
            held = "nothing" if context is None else sorted(context)
            raise ValueError(
                f"context must hold {self.key!r}, the matrix of each example that PerExample "
                f"applies, got {held}"
            )
        matrices = context[self.key]
        size = (num_examples, math.prod(self.output_shape), math.prod(self.input_shape))
        if tuple(matrices.shape) != size:
            raise ValueError(
                f"context[{self.key!r}] must have shape (n, m, d) = {size}, from input_shape "
                f"{self.input_shape} to output_shape {self.output_shape}, got "
                f"{tuple(matrices.shape)}"
            )
        return matrices
