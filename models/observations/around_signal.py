"""Data that lie around a signal: what the inverse link makes of the network's output."""

from abc import abstractmethod
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor

from .base import Context, Observation


class AroundSignal(Observation):
    """Noise around ``inverse_link(output)``; a family says which, by :meth:`around`.

    Parameters
    ----------
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise; by default the identity.

    Raises
    ------
    TypeError
        If ``inverse_link`` is not callable.
    """

    def __init__(self, inverse_link: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        if inverse_link is not None and not callable(inverse_link):
            raise TypeError(f"inverse_link must be a callable or None, got {inverse_link!r}")
        self.inverse_link = inverse_link

    @abstractmethod
    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return the noise around a signal."""

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return the noise around the signal of the output."""
        return self.around(self.signal(output, context), mask=mask, context=context)

    def signal(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the output through the inverse link."""
        return output if self.inverse_link is None else self.inverse_link(output)

    def link_range(self) -> tuple[float, float]:
        """Return the limits of the inverse link, by evaluating it far out on both sides."""
        if self.inverse_link is None:
            return super().link_range()
        ends = self.inverse_link(torch.tensor([-1e6, 1e6]))
        return float(ends.min()), float(ends.max())

    def closed_form_step(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> None:
        """Learn from the residuals of a batch."""
        with torch.no_grad():
            self.learn_from_residuals(y - self.signal(output, context), mask, context)

    def learn_from_residuals(
        self, residual: Tensor, mask: Tensor | None = None, context: Context | None = None
    ) -> None:
        """Learn from residuals (n, ...) of observed cells what needs no gradient."""
