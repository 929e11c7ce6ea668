"""Independent cells of an example as one event that knows its Fisher information."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor


class Cells(dist.Independent):
    """What :func:`factorised` gives, with the Fisher information of the observed cells.

    Parameters
    ----------
    cells : Distribution
        Batch shape (n, ...). Its method ``information()`` returns pairs of a tensor (n, ...) that
        depends on the network's output, possibly with one more dimension at its end, and the Fisher
        information that a cell has about each of its elements.
    mask : bool Tensor, optional
        Shape (n, ...), true where observed.
    batch_dims : int, default 1
        Leading dimensions that are not part of the event.
    """

    def __init__(self, cells: Any, mask: Tensor | None = None, batch_dims: int = 1) -> None:
        self._cells = cells
        self._observed = mask
        masked: Any = cells if mask is None else cells.mask(mask)
        super().__init__(masked, len(cells.batch_shape) - batch_dims)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Cells":
        """Return the same distribution with more batch dimensions."""
        shape = torch.Size(batch_shape) + self.event_shape
        mask = None if self._observed is None else self._observed.expand(shape)
        return Cells(self._cells.expand(shape), mask, len(batch_shape))

    def fisher(self) -> list[tuple[Tensor, Tensor]]:
        """Return what the cells depend on, with the information of the observed ones about it."""
        pairs: list[tuple[Tensor, Tensor]] = self._cells.information()
        if self._observed is None:
            return pairs
        return [(parameter, self._of_observed(information)) for parameter, information in pairs]

    def _of_observed(self, information: Tensor) -> Tensor:
        assert self._observed is not None
        observed = self._observed
        if information.dim() > observed.dim():
            observed = observed[..., None]
        return torch.where(observed, information, 0.0)
