"""What every linear operator has to offer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from ..arguments import is_integer
from ..pieces import Context as Context
from ..pieces import Entry


class LinearOperator(nn.Module, ABC):
    """A linear map A of each example's signal, as a function, with its adjoint Aᵀ.

    ``A(x)`` measures a batch, ``A.adjoint(y)`` maps measurements back, and ``A @ B`` applies B
    first. Inner products agree, ``<A(x), y> = <x, A.adjoint(y)>``.

    An operator of one's own is a small class:

    >>> import torch
    >>> from explainaway.models.operators import LinearOperator
    >>> class Sum(LinearOperator):
    ...     def __init__(self, size):
    ...         super().__init__((size,), (1,))
    ...
    ...     def _measure(self, x, context):
    ...         return x.sum(1, keepdim=True)
    ...
    ...     def _adjoint(self, y, context):
    ...         return y.expand(-1, *self.input_shape)
    >>> Sum(3)(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[6.]])

    Parameters
    ----------
    input_shape, output_shape : sequence of int
        Shapes of one example's signal and of its measurements.

    Raises
    ------
    ValueError
        If a shape does not hold positive integers.
    """

    entry: ClassVar[Entry]
    """Its line of the catalogue; an operator of one's own needs none."""

    def __init__(self, input_shape: Sequence[int], output_shape: Sequence[int]) -> None:
        super().__init__()
        for name, shape in (("input_shape", input_shape), ("output_shape", output_shape)):
            if any(not is_integer(size) or size < 1 for size in shape):
                raise ValueError(f"{name} must hold positive integers, got {tuple(shape)}")
        self.input_shape = tuple(input_shape)
        self.output_shape = tuple(output_shape)

    @abstractmethod
    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        """Return A x of each example, (n, *input_shape) to (n, *output_shape)."""

    @abstractmethod
    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        """Return Aᵀ y of each example, (n, *output_shape) to (n, *input_shape)."""

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Return the measurements of a batch of signals.

        Parameters
        ----------
        x : Tensor, (n, *input_shape)
            Signals.
        context : mapping of Tensor, optional
            Example-first tensors, for operators that differ between examples.

        Returns
        -------
        Tensor
            (n, *output_shape).

        Raises
        ------
        ValueError
            If the shape of x is another, or the context does not fit.
        """
        self._check("x", x, "input_shape", self.input_shape)
        return self._measure(x, context)

    def adjoint(self, y: Tensor, context: Context | None = None) -> Tensor:
        """Return the adjoint's image of a batch of measurements, (n, *input_shape).

        Parameters and errors are those of :meth:`forward`, y being (n, *output_shape).
        """
        self._check("y", y, "output_shape", self.output_shape)
        return self._adjoint(y, context)

    def validate(self, num_examples: int, context: Context | None) -> None:
        """Raise ValueError if the context of so many examples does not fit; by default nothing."""

    def __matmul__(self, other: "LinearOperator") -> "Composition":
        """Return the operator that applies ``other`` first and then this one."""
        return Composition(self, other)

    def extra_repr(self) -> str:
        """Return the shapes."""
        return f"{self.input_shape} -> {self.output_shape}"

    def _check(self, name: str, value: Tensor, kind: str, shape: tuple[int, ...]) -> None:
        if value.dim() == 0 or tuple(value.shape[1:]) != shape:
            raise ValueError(
                f"{name} must have shape (n, {', '.join(map(str, shape))}), the {kind} of "
                f"{type(self).__name__} for n examples, got {tuple(value.shape)}"
            )


def image_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape (..., height, width) as a tuple.

    Raises
    ------
    ValueError
        If it has fewer than two dimensions.
    """
    if len(tuple(input_shape)) < 2:
        raise ValueError(f"input_shape must be (..., height, width), got {tuple(input_shape)}")
    return tuple(input_shape)


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
