"""Some of the frequencies of an image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..pieces import Entry
from .base import Context, LinearOperator, image_shape


class SubsampledFourier(LinearOperator):
    """The orthonormal 2-D Fourier transform at some frequencies, as in magnetic resonance imaging.

    Real and imaginary parts are measurements of their own: the output shape is (..., k, 2) for k
    frequencies. A real image's coefficients at f and -f are conjugate, so that keeping both means
    that the same number is measured twice, each time with its own noise.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one example's image, (..., height, width).
    kept : float or bool Tensor, default 0.3
        The share of frequencies, chosen at random but for the zero frequency, which is always
        among them; or a mask (height, width) of those to keep, in the order of ``torch.fft.fft2``.
    seed : int, default 0
        Of the choice.

    Raises
    ------
    ValueError
        If the share is not in (0, 1], the mask's shape is not the image's, or it is all false.
    TypeError
        If the mask is not boolean.

    References
    ----------
    Lustig, Donoho & Pauly, "Sparse MRI" (2007).
    """

    entry = Entry(
        "A x = (F x) at k frequencies, F orthonormal",
        "Lustig, Donoho & Pauly (2007)",
        "operators.SubsampledFourier((1, 8, 8), kept=0.25)",
        (1, 16, 2),
    )

    frequencies: Tensor

    def __init__(
        self, input_shape: Sequence[int], kept: float | Tensor = 0.3, seed: int = 0
    ) -> None:
        *leading, height, width = image_shape(input_shape)
        chosen = _chosen(kept, height, width, seed)
        super().__init__(input_shape, (*leading, len(chosen), 2))
        self.register_buffer("frequencies", chosen)

    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        coefficients = torch.view_as_real(torch.fft.fft2(x, norm="ortho"))
        # (n, ..., h, w, 2) -> (n, ..., k, 2)
        return coefficients.flatten(-3, -2).index_select(-2, self.frequencies)

    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        *leading, height, width = self.input_shape
        zeros = y.new_zeros(y.shape[0], *leading, height * width, 2)
        coefficients = zeros.index_copy(-2, self.frequencies, y)
        coefficients = coefficients.unflatten(-2, (height, width))
        image: Tensor = torch.fft.ifft2(torch.view_as_complex(coefficients), norm="ortho").real
        return image


def _chosen(kept: float | Tensor, height: int, width: int, seed: int) -> Tensor:
    """Return the places of the kept frequencies in the flattened spectrum, ascending."""
    if isinstance(kept, Tensor):
        if kept.dtype != torch.bool:
            raise TypeError(f"kept must be a share or a boolean mask, got dtype {kept.dtype}")
        if kept.shape != (height, width) or not bool(kept.any()):
            raise ValueError(
                f"kept must have the image's shape {(height, width)} and hold at least one true "
                f"entry, got shape {tuple(kept.shape)} with {int(kept.sum())}"
            )
        return kept.flatten().nonzero()[:, 0]
    if not 0 < kept <= 1:
        raise ValueError(f"kept must be a share in (0, 1] or a boolean mask, got {kept!r}")
    size = height * width
    others = torch.randperm(size - 1, generator=torch.Generator().manual_seed(seed)) + 1
    num_others = max(round(kept * size), 1) - 1
    return torch.cat([torch.zeros(1, dtype=torch.int64), others[:num_others]]).sort().values
