"""Filtering of real fields on a torus, from real numbers to real numbers.

Operators of torch's own kind: complex numbers stay inside, where compilers need not know them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def multiplied(field: Tensor, gain: Tensor, dims: int) -> Tensor:
    """Multiply each frequency of real fields by a real gain: a product with a circulant matrix.

    Parameters
    ----------
    field : Tensor, (..., *torus)
        Real.
    gain : Tensor, (*torus) or with more dimensions before, which broadcast to the field's
        Real, in the order of ``torch.fft.fftn``, and the same at k and -k.
    dims : int
        Dimensions of the torus.

    Returns
    -------
    Tensor
        Of the field's shape.
    """
    product: Tensor = _multiply(field, gain, dims)
    return product


def cross_spectrum(a: Tensor, b: Tensor, dims: int) -> Tensor:
    """Return the real part of ``conj(â) b̂ / N`` of fields (..., *torus), at every frequency."""
    spectrum: Tensor = _cross(a, b, dims)
    return spectrum


def mirrored(spectrum: Tensor, dims: int) -> Tensor:
    """Return what a spectrum (..., *torus) holds at -k."""
    axes = tuple(range(-dims, 0))
    return spectrum.flip(axes).roll((1,) * dims, axes)


def white_noise(
    shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Return standard normal draws of a shape, by default from torch's global random state."""
    return torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)


def in_front(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Return a tensor with a mapped dimension of a size first; it is repeated if it had none."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def gain_in_front(gain: Tensor, dim: int | None, rank: int) -> Tensor:
    """Return a gain that broadcasts to fields of a rank whose first dimension is mapped."""
    if dim is None:
        return gain
    gain = gain.movedim(dim, 0)
    return gain.reshape(len(gain), *[1] * (rank - gain.dim()), *gain.shape[1:])


def transformed(field: Tensor, gain: Tensor, dims: int) -> Tensor:
    """Return what :func:`multiplied` does, for use inside of another operator."""
    axes = tuple(range(-dims, 0))
    size = field.shape[-dims:]
    half = gain[..., : size[-1] // 2 + 1]
    result: Tensor = torch.fft.irfftn(torch.fft.rfftn(field, dim=axes) * half, s=size, dim=axes)
    return result


@torch.library.custom_op("explainaway::multiply_frequencies", mutates_args=())
def _multiply(field: Tensor, gain: Tensor, dims: int) -> Tensor:
    return transformed(field, gain, dims).contiguous()


@torch.library.custom_op("explainaway::cross_spectrum", mutates_args=())
def _cross(a: Tensor, b: Tensor, dims: int) -> Tensor:
    axes = tuple(range(-dims, 0))
    product = torch.fft.fftn(a, dim=axes).conj() * torch.fft.fftn(b, dim=axes)
    each: Tensor = product.real.contiguous() / a.shape[-dims:].numel()
    return each


@_multiply.register_fake
def _(field: Tensor, gain: Tensor, dims: int) -> Tensor:
    return field.new_empty(field.shape)


@_cross.register_fake
def _(a: Tensor, b: Tensor, dims: int) -> Tensor:
    return a.new_empty(a.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    first, second, ctx.dims = inputs
    ctx.save_for_backward(first, second)


def _of_product(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    field, gain = ctx.saved_tensors
    of_gain = None
    if ctx.needs_input_grad[1]:
        of_gain = cross_spectrum(field, gradient, ctx.dims).sum_to_size(gain.shape)
    return multiplied(gradient, gain, ctx.dims), of_gain, None


def _of_cross_spectrum(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    a, b = ctx.saved_tensors
    gain = 0.5 * (gradient + mirrored(gradient, ctx.dims))
    return multiplied(b, gain, ctx.dims), multiplied(a, gain, ctx.dims), None


_multiply.register_autograd(_of_product, setup_context=_keep)
_cross.register_autograd(_of_cross_spectrum, setup_context=_keep)


@_multiply.register_vmap
def _(info: Any, in_dims: Any, field: Tensor, gain: Tensor, dims: int) -> tuple[Tensor, int]:
    field = in_front(field, in_dims[0], info.batch_size)
    return multiplied(field, gain_in_front(gain, in_dims[1], field.dim()), dims), 0


@_cross.register_vmap
def _(info: Any, in_dims: Any, a: Tensor, b: Tensor, dims: int) -> tuple[Tensor, int]:
    a, b = (in_front(t, d, info.batch_size) for t, d in zip((a, b), in_dims[:2], strict=True))
    return cross_spectrum(a, b, dims), 0
