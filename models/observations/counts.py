"""What count data share: the log link and the exposure."""

from abc import abstractmethod
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..arguments import first_place
from ..distributions.cells import Cells
from .base import Context, Observation

TANGENT_FROM = 30.0
"""Log rate from which the rate goes on along its tangent; 10¹³, beyond any count."""


class Counts(Observation):
    """Counts of events, whose mean is ``exposure * exp(output)``.

    ``context["exposure"]`` (hours watched, persons at risk, area) is positive, of y's shape or
    with fewer or smaller dimensions from the example on: (n,), (n, 1), (n, columns). Without it the
    exposure is 1.

    From an output of 30 on the rate follows the exponential's tangent, so that no draw from a
    prior, however wide, overflows, and a gradient still leads back.
    """

    @abstractmethod
    def cells(self, log_mean: Tensor) -> Any:
        """Return independent counts, one for each element, with given logarithms of their means."""

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent counts with the output as log rates.

        Parameters
        ----------
        output, mask
            As in :meth:`Observation.distribution`.
        context : mapping of Tensor, optional
            Its ``"exposure"`` multiplies the rates.
        """
        return Cells(self.cells(_log_mean(_log_rate(output), context)), mask)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent counts with the signal as rates; below the least number: that."""
        log_rate = signal.clamp(min=torch.finfo(signal.dtype).tiny).log()
        return Cells(self.cells(_log_mean(log_rate, context)), mask)

    def signal(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the rate, for an exposure of 1."""
        return _log_rate(output).exp()

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the mean, exposure times rate."""
        return _log_mean(_log_rate(output), context).exp()

    def validate(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Raise ValueError if the exposure does not fit y or is not positive and finite."""
        if context is None or "exposure" not in context:
            return
        exposure = context["exposure"]
        sizes = zip(exposure.shape, y.shape, strict=False)
        if exposure.dim() > y.dim() or not all(a in (1, b) for a, b in sizes):
            raise ValueError(
                "context['exposure'] must have the shape of y or broadcast to it from the example "
                f"on, got {tuple(exposure.shape)} for y of shape {tuple(y.shape)}"
            )
        bad = ~((exposure > 0) & exposure.isfinite())
        if bool(bad.any()):
            place = first_place(bad)
            raise ValueError(
                f"context['exposure']{list(place)} must be positive and finite, got "
                f"{float(exposure[place]):g}"
            )


def _log_rate(output: Tensor) -> Tensor:
    """Return the logarithm of ``exp(output)``, continued by its tangent."""
    beyond = (output - TANGENT_FROM).clamp(min=0.0)
    return output.clamp(max=TANGENT_FROM) + beyond.log1p()


def _log_mean(log_rate: Tensor, context: Context | None) -> Tensor:
    if context is None or "exposure" not in context:
        return log_rate
    exposure = context["exposure"].to(log_rate.dtype)
    # From the example on: (n,) is one for each example, also where y is (n, n).
    missing = max(log_rate.dim() - exposure.dim(), 0)
    return log_rate + exposure.reshape(exposure.shape + (1,) * missing).log()
