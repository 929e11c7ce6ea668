"""Convolution of an image."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..pieces import Entry
from .base import Context, LinearOperator, image_shape


class Blur(LinearOperator):
    """Correlation of each channel with one kernel; the output has the image's own shape.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one example's image, (..., height, width).
    kernel : float or Tensor
        The standard deviation, in cells, of a Gaussian kernel (cut at four of them and at the
        image's size, weights that sum to 1); or the weights themselves, (rows, columns) with odd
        sides, used as they are.
    boundary : "zero" or "circular", default "zero"
        What lies beyond the edge: zeros, or the image again from its other side.

    Raises
    ------
    ValueError
        If the standard deviation is not positive, the kernel's sides are not odd, or the kernel
        reaches farther to one side than the image is large.

    References
    ----------
    Park, Park & Kang, "Super-resolution image reconstruction: a technical overview" (2003).
    """

    entry = Entry(
        "A x = kernel * x, zero or circular boundary",
        "Park, Park & Kang (2003)",
        'operators.Blur((1, 8, 8), 1.0, boundary="circular")',
        (1, 8, 8),
    )

    kernel: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        kernel: float | Tensor,
        boundary: Literal["zero", "circular"] = "zero",
    ) -> None:
        shape = image_shape(input_shape)
        super().__init__(shape, shape)
        if boundary not in ("zero", "circular"):
            raise ValueError(f'boundary must be "zero" or "circular", got {boundary!r}')
        if not isinstance(kernel, Tensor):
            kernel = _gaussian(kernel, shape[-2], shape[-1])
        if kernel.dim() != 2 or any(side % 2 == 0 for side in kernel.shape):
            raise ValueError(
                f"kernel must have shape (rows, columns), both odd, got {tuple(kernel.shape)}"
            )
        if any(k // 2 > s for k, s in zip(kernel.shape, shape[-2:], strict=True)):
            raise ValueError(
                f"kernel of shape {tuple(kernel.shape)} reaches farther than the image of "
                f"input_shape {shape} is large"
            )
        self.boundary = boundary
        self.register_buffer("kernel", kernel.detach().to(torch.get_default_dtype()).clone())

    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        return self._correlated(x, self.kernel)

    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        return self._correlated(y, self.kernel.flip(0, 1))

    def _correlated(self, images: Tensor, kernel: Tensor) -> Tensor:
        rows, columns = (side // 2 for side in kernel.shape)
        # (n, ..., h, w) -> (all images, 1, h, w)
        planes = images.reshape(-1, 1, *images.shape[-2:])
        if self.boundary == "circular":
            planes = _wrapped(_wrapped(planes, rows, -2), columns, -1)
        padding = (rows, columns) if self.boundary == "zero" else 0
        filtered = functional.conv2d(planes, kernel[None, None], padding=padding)
        return filtered.reshape(images.shape)


def _wrapped(planes: Tensor, reach: int, dim: int) -> Tensor:
    """Return the planes with so many cells of the other side put before and behind."""
    if reach == 0:
        return planes
    size = planes.shape[dim]
    before, behind = planes.narrow(dim, size - reach, reach), planes.narrow(dim, 0, reach)
    return torch.cat([before, planes, behind], dim)


def _gaussian(scale: float, height: int, width: int) -> Tensor:
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"kernel must be a tensor or a positive standard deviation, got {scale!r}")
    sides = []
    for size in (height, width):
        reach = min(math.ceil(4 * scale), size)
        places = torch.arange(-reach, reach + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (places / scale) ** 2)
        sides.append(weights / weights.sum())
    return torch.outer(*sides)
