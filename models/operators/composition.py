"""One operator after another."""

from torch import Tensor

from ..entry import Entry
from .base import Context, LinearOperator


class Composition(LinearOperator):
    """``outer @ inner``: the inner operator first, then the outer; its adjoint runs backwards.

    Parameters
    ----------
    outer, inner : LinearOperator
        The inner one's output shape is the outer one's input shape.

    Raises
    ------
    TypeError
        If one is not a LinearOperator.
    ValueError
        If the shapes do not fit.
    """

    entry = Entry(
        "(A @ B) x = A (B x)",
        "",
        "operators.Downsample((1, 8, 8), 2) @ operators.Blur((1, 8, 8), 1.0)",
        (1, 4, 4),
    )

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        for name, operator in (("outer", outer), ("inner", inner)):
            if not isinstance(operator, LinearOperator):
                raise TypeError(f"{name} must be a LinearOperator, got {operator!r}")
        if outer.input_shape != inner.output_shape:
            raise ValueError(
                f"{type(outer).__name__} @ {type(inner).__name__} does not fit: the right one has "
                f"output_shape {inner.output_shape}, the left one input_shape {outer.input_shape}"
            )
        super().__init__(inner.input_shape, outer.output_shape)
        self.outer = outer
        self.inner = inner

    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        measured: Tensor = self.outer(self.inner(x, context), context)
        return measured

    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        return self.inner.adjoint(self.outer.adjoint(y, context), context)

    def validate(self, num_examples: int, context: Context | None) -> None:
        """Let both parts check the context."""
        self.inner.validate(num_examples, context)
        self.outer.validate(num_examples, context)
