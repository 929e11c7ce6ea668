"""``C_oo⁻¹ r_o`` for a stationary C without ever forming a matrix, as one differentiable operator.

It is an operator of torch's own kind: a captured graph holds it as one node, and how many
iterations it takes is decided when it runs.
"""

from typing import Any

import torch
from torch import Tensor

from .fourier import cross_spectrum, gain_in_front, in_front, transformed

TOLERANCE = 10.0
"""Norm of the last residual over that of the right side, in units of the dtype's precision."""


@torch.library.custom_op("explainaway::observed_solve", mutates_args=())
def observed_solve(
    residual: Tensor, spectrum: Tensor, observed: Tensor, dims: int
) -> tuple[Tensor, Tensor]:
    """Solve ``C_oo v_o = r_o`` for each signal by preconditioned conjugate gradients.

    The preconditioner is ``(C⁻¹)_oo``, which costs two transforms as the product with ``C_oo``
    does, and halves their number. It is exact where nothing is hidden or the noise is white;
    images of 64 x 64 cells with half of them hidden at random took 20 to 45 iterations in single
    and 50 to 105 in double precision, for spectra with a range of 70 to 200. A signal that has
    converged is left as it is, so that the result does not depend on the signals beside it.

    Parameters
    ----------
    residual : Tensor, (..., *torus)
        Anything finite where not observed.
    spectrum : Tensor, (*torus) or with more dimensions before
        Eigenvalues of C; it broadcasts to the residual.
    observed : bool Tensor, (..., *torus)
        Of the residual's shape.
    dims : int
        Dimensions of the torus.

    Returns
    -------
    squared_distance : Tensor, (...)
        ``r_oᵀ C_oo⁻¹ r_o``. Its gradient needs no second solve.
    weights : Tensor, (..., *torus)
        v, zero where not observed.

    References
    ----------
    Hestenes & Stiefel, "Methods of conjugate gradients for solving linear systems" (1952).
    """
    axes = tuple(range(-dims, 0))
    seen = observed.to(residual.dtype)
    inverse = spectrum.reciprocal()
    right = seen * residual
    remaining = right
    weights = torch.zeros_like(right)
    goal = (TOLERANCE * torch.finfo(right.dtype).eps) ** 2 * right.square().sum(axes, keepdim=True)
    preconditioned = seen * transformed(remaining, inverse, dims)
    direction = preconditioned
    product = (remaining * preconditioned).sum(axes, keepdim=True)
    # In exact arithmetic no more iterations are needed than there are cells.
    for _ in range(2 * right.shape[-dims:].numel()):
        active = remaining.square().sum(axes, keepdim=True) > goal
        if not bool(active.any()):
            break
        image = seen * transformed(direction, spectrum, dims)
        curvature = (direction * image).sum(axes, keepdim=True)
        step = torch.where(active, product / curvature, 0.0)
        weights = weights + step * direction
        remaining = remaining - step * image
        preconditioned = seen * transformed(remaining, inverse, dims)
        before, product = product, (remaining * preconditioned).sum(axes, keepdim=True)
        direction = preconditioned + torch.where(active, product / before, 0.0) * direction
    # The largest value of 2 r'v - v'Cv over v: an error in v enters it squared.
    image = transformed(weights, spectrum, dims)
    return (weights * (2 * right - image)).sum(axes), weights


@observed_solve.register_fake
def _(residual: Tensor, spectrum: Tensor, observed: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    return residual.new_empty(residual.shape[:-dims]), torch.empty_like(residual)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, spectrum, observed, ctx.dims = inputs
    ctx.save_for_backward(spectrum, observed, output[1])


def _backward(ctx: Any, of_distance: Tensor, of_weights: Tensor) -> tuple[Tensor | None, ...]:
    """Return gradients made of operations that can be differentiated once more."""
    spectrum, observed, weights = ctx.saved_tensors
    scaled = of_distance[(..., *[None] * ctx.dims)] * weights
    _, solved = observed_solve(of_weights.contiguous(), spectrum, observed, ctx.dims)
    of_spectrum = None
    if ctx.needs_input_grad[1]:
        each = -cross_spectrum(scaled + solved, weights, ctx.dims)
        of_spectrum = each.sum_to_size(spectrum.shape)
    return 2 * scaled + solved, of_spectrum, None, None


observed_solve.register_autograd(_backward, setup_context=_keep)


@observed_solve.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    residual: Tensor,
    spectrum: Tensor,
    observed: Tensor,
    dims: int,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    residual = in_front(residual, in_dims[0], info.batch_size)
    observed = in_front(observed, in_dims[2], info.batch_size)
    spectrum = gain_in_front(spectrum, in_dims[1], residual.dim())
    return observed_solve(residual.contiguous(), spectrum, observed, dims), (0, 0)
