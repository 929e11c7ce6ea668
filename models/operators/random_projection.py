"""Compressed sensing by a dense Gaussian matrix."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..pieces import Entry
from .base import Context, LinearOperator


class RandomProjection(LinearOperator):
    """Inner products with random Gaussian vectors, ``A_ij ~ N(0, 1/m)``, the same for all examples.

    With this scale ``E‖A x‖² = ‖x‖²``: m measurements of d cells whose root mean square is r have
    the root mean square r √(d/m), to which the scale of the noise relates.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one example's signal, d cells.
    num_measurements : int
        m.
    seed : int, default 0
        Reproduces the matrix, the same numbers in every precision.

    Raises
    ------
    ValueError
        If a size is not a positive integer.

    References
    ----------
    Han, Lu, Zhu & Wu, "Alternating Back-Propagation for Generator Network" (arXiv:1606.08571),
    Experiment 6; Candès & Tao, "Near-optimal signal recovery from random projections" (2006).
    """

    entry = Entry(
        "A_ij ~ N(0, 1/m), dense",
        "Han et al. (arXiv:1606.08571), Experiment 6",
        "operators.RandomProjection((1, 8, 8), 20, seed=0)",
        (20,),
    )

    matrix: Tensor

    def __init__(self, input_shape: Sequence[int], num_measurements: int, seed: int = 0) -> None:
        super().__init__(input_shape, (num_measurements,))
        generator = torch.Generator().manual_seed(seed)
        size = (num_measurements, math.prod(self.input_shape))
        drawn = torch.randn(size, generator=generator, dtype=torch.float32)
        scaled = drawn.to(torch.get_default_dtype()) / math.sqrt(num_measurements)
        self.register_buffer("matrix", scaled)

    def _measure(self, x: Tensor, context: Context | None) -> Tensor:
        return x.flatten(1) @ self.matrix.mT

    def _adjoint(self, y: Tensor, context: Context | None) -> Tensor:
        return (y @ self.matrix).reshape(-1, *self.input_shape)
