"""A coarser image."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from ..arguments import is_integer
from ..pieces import Entry
from .base import Context, LinearOperator, image_shape


class Downsample(LinearOperator):
    """Averages of square blocks: what a camera with larger pixels sees (super-resolution).

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one example's image, (..., height, width).
    factor : int
        Side of a block in cells; divides height and width.

    Raises
    ------
    ValueError
        If the factor is not a positive integer or does not divide both sides.

    References
    ----------
    Park, Park & Kang, "Super-resolution image reconstruction: a technical overview" (2003).
    """

    entry = Entry(
        "A x = averages of factor x factor cells",
        "Park, Park & Kang (2003)",
        "operators.Downsample((1, 8, 8), factor=2)",
        (1, 4, 4),
    )

    def __init__(self, input_shape: Sequence[int], factor: int) -> None:
        *leading, height, width = image_shape(input_shape)
        if not is_integer(factor) or factor < 1 or height % factor or width % factor:
            raise ValueError(
                "factor must be a positive integer that divides the image's height and width, got "
                f"{factor!r} for input_shape {tuple(input_shape)}"
            )
        super().__init__(input_shape, (*leading, height // factor, width // factor))
        self.factor = factor

    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        planes = x.reshape(-1, 1, *x.shape[-2:])
        return functional.avg_pool2d(planes, self.factor).reshape(-1, *self.output_shape)

    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        spread = y.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)
        return spread / self.factor**2
