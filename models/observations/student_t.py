"""Student's t noise around the signal."""

import math
from collections.abc import Callable

import pyro.distributions as dist
from torch import Tensor

from ..distributions.cells import Cells
from ..distributions.student_t import StudentTCells
from ..pieces import Entry
from .base import Context
from .location_scale import LocationScale


class StudentT(LocationScale):
    """Independent Student's t noise, ``y ~ t(df, inverse_link(output), scale)`` in each cell.

    Tails that fall by a power: a cell far from the signal is taken for an outlier, and pulls the
    less the farther it lies.

    Parameters
    ----------
    df : float, default 4
        Degrees of freedom ν, positive; 1 is the Cauchy distribution.
    scale : float or Tensor, default 1
        Scale in the units of y (the standard deviation is √(ν / (ν - 2)) times it, for ν > 2); a
        tensor has to broadcast to one example's data (one for each column: shape (columns,)).
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise; by default the identity.
    learn_scale : bool, default False
        Learn the scale with the network, by its gradient.

    Raises
    ------
    TypeError
        If ``inverse_link`` is not callable.
    ValueError
        If ``df`` or ``scale`` is not positive and finite, or ``learn_scale`` is not a boolean.

    References
    ----------
    Lange, Little & Taylor, "Robust statistical modeling using the t distribution" (1989).
    """

    entry = Entry(
        "y ~ t(df, inverse_link(output), scale)",
        "Lange, Little & Taylor (1989)",
        "observations.StudentT(4.0, scale=0.3)",
    )

    def __init__(
        self,
        df: float = 4.0,
        scale: float | Tensor = 1.0,
        inverse_link: Callable[[Tensor], Tensor] | None = None,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(scale, inverse_link, learn_scale)
        if not (df > 0 and math.isfinite(df)):
            raise ValueError(f"df must be positive and finite, got {df!r}")
        self.df = float(df)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the signal: the mean, and the median where df is too small for a mean."""
        return self.signal(output, context)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent t distributions around a signal."""
        return Cells(StudentTCells(self.df, signal, self.scale), mask)
