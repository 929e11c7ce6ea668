"""What observations with correlated Gaussian noise share."""

from abc import abstractmethod

import torch
from torch import Tensor

from ..distributions.correlated_normal import CorrelatedNormal
from ..distributions.covariances import Covariance
from .around_signal import AroundSignal
from .base import Context


class CorrelatedGaussian(AroundSignal):
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

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the signal, which is the mean of y."""
        return self.signal(output, context)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> CorrelatedNormal:
        """Return the normal around a signal, of the observed cells."""
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
        made = self.around(self.signal(output, context), mask=mask, context=context)
        return torch.where(mask, y, made.complete(y))

    def validate(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Raise ValueError if y's cells are not those of the noise."""
        self.check_shape("y", y.shape)
