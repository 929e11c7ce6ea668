"""What observations with correlated Gaussian noise share."""

from abc import abstractmethod
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor

from ..correlated_normal import CorrelatedNormal
from ..covariances import Covariance
from .base import Context, Observation


class CorrelatedGaussian(Observation):
    """Gaussian noise around the signal, correlated between the cells of an example.

    A family says what its :meth:`covariance` is. Hidden cells are integrated out exactly, and
    :meth:`complete` predicts them from the signal and from the residuals of the observed ones.

    Parameters
    ----------
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise, as in :class:`Gaussian`.

    Raises
    ------
    TypeError
        If it is not callable.
    """

    def __init__(self, inverse_link: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        if inverse_link is not None and not callable(inverse_link):
            raise TypeError(f"inverse_link must be a callable or None, got {inverse_link!r}")
        self.inverse_link = inverse_link

    @abstractmethod
    def covariance(self, mask: Tensor | None = None) -> Covariance:
        """Return the covariance of the noise, with what is observed of it.

        Parameters
        ----------
        mask : bool Tensor, optional
            (n, ...), true where observed; by default everything is.
        """

    @abstractmethod
    def check_shape(self, name: str, shape: torch.Size) -> None:
        """Raise ValueError if the noise is not that of an array (n, ...) of a shape."""

    def signal(self, output: Tensor) -> Tensor:
        """Return the output through the inverse link, which is the mean of y."""
        return output if self.inverse_link is None else self.inverse_link(output)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the signal."""
        return self.signal(output)

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return the normal around the signal, of the observed cells."""
        return self.around(self.signal(output), mask=mask)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return the normal around a signal, of the observed cells."""
        return self._around(signal, mask)

    def _around(self, signal: Tensor, mask: Tensor | None) -> CorrelatedNormal:
        self.check_shape("the network's output", signal.shape)
        return CorrelatedNormal(signal, self.covariance(mask))

    def complete(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y, its hidden cells predicted from the signal and the observed residuals."""
        if mask is None:
            return y
        return torch.where(mask, y, self._around(self.signal(output), mask).complete(y))

    def validate(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Raise ValueError if y's cells are not those of the noise."""
        self.check_shape("y", y.shape)

    def link_range(self) -> tuple[float, float]:
        """Return the limits of the inverse link, by evaluating it far out on both sides."""
        if self.inverse_link is None:
            return super().link_range()
        ends = self.inverse_link(torch.tensor([-1e6, 1e6]))
        return float(ends.min()), float(ends.max())
