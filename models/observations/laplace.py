"""Laplace noise around the signal."""

from collections.abc import Callable

import pyro.distributions as dist
from torch import Tensor

from ..distributions.cells import Cells
from ..pieces import Entry
from .base import Context
from .location_scale import LocationScale


class Laplace(LocationScale):
    """Independent Laplace noise, ``y ~ Laplace(inverse_link(output), scale)`` in each cell.

    Its log density is the absolute error: the signal is fitted as a median, and an outlier pulls
    with no more force than any other cell.

    Parameters
    ----------
    scale : float or Tensor, default 1
        Mean absolute deviation b in the units of y (the standard deviation is √2 b); a tensor has
        to broadcast to one example's data (one for each column: shape (columns,)).
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise; by default the identity.
    learn_scale : bool, default False
        Learn the scale with the network, by its gradient.

    Raises
    ------
    TypeError
        If ``inverse_link`` is not callable.
    ValueError
        If ``scale`` is not positive and finite, or ``learn_scale`` is not a boolean.
    """

    entry = Entry(
        "y ~ Laplace(inverse_link(output), scale)",
        "Laplace (1774), the first law of errors",
        "observations.Laplace(0.3)",
    )

    def __init__(
        self,
        scale: float | Tensor = 1.0,
        inverse_link: Callable[[Tensor], Tensor] | None = None,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(scale, inverse_link, learn_scale)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent Laplace distributions around a signal."""
        return Cells(_Laplace(signal, self.scale), mask)


class _Laplace(dist.Laplace):  # type: ignore[misc]  # Pyro makes it at import
    """Laplace with its Fisher information, which the divergence has no Hessian to give."""

    def information(self) -> list[tuple[Tensor, Tensor]]:
        return [(self.loc, self.scale**-2)]
