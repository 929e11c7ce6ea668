"""What every prior and every observation has to offer, and the helper that most of them need."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import pyro.distributions as dist
import torch
from torch import Tensor, nn

Context = Mapping[str, Tensor]


class Prior(nn.Module, ABC):
    """A distribution over one example's latent. Its parameters and buffers move with the model."""

    @abstractmethod
    def distribution(self) -> dist.TorchDistribution:
        """Return the prior of one example: no batch shape, the latent's shape as event shape."""


class Observation(nn.Module, ABC):
    """How the network's output becomes data: a Pyro distribution and its inverse link.

    A family of its own is a small class:

    >>> import pyro.distributions as dist
    >>> from explainaway.models import Observation, factorised
    >>> class Cauchy(Observation):
    ...     def distribution(self, output, *, mask=None, context=None):
    ...         return factorised(dist.Cauchy(output, 0.1), mask)
    ...     def mean(self, output, context=None):  # its location: a Cauchy has no mean
    ...         return output
    """

    fill_value: float = 0.0
    """What stands in a cell that is not observed; any value of the support does."""

    @abstractmethod
    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return ``p(y | output)``.

        Parameters
        ----------
        output : Tensor
            What the network gave, example first, (n, ...).
        mask : bool Tensor, optional
            Of y's shape, true where observed. A factorised family masks before ``to_event``; a
            correlated one returns the exact marginal of the observed cells.
        context : mapping of Tensor, optional
            Example-first tensors that belong to the examples (exposure, an operator, labels).

        Returns
        -------
        Distribution
            Batch shape (n,), event shape that of one example's data.
        """

    @abstractmethod
    def mean(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return ``E[y | output]``, example first, of y's shape."""

    def signal(self, output: Tensor) -> Tensor:
        """Return the signal that is observed: the output through the inverse link."""
        return self.mean(output)

    def prepare(self, y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return y without NaN, and the mask of what is observed (None: everything)."""
        if mask is not None:
            raise ValueError(
                f"mask was given, but the observation {type(self).__name__} has no missing cells: "
                f"write Masked({type(self).__name__}(...))"
            )
        return y, None

    def link_range(self) -> tuple[float, float]:
        """Return the smallest and largest signal that the inverse link can give."""
        return -float("inf"), float("inf")


def factorised(base: dist.TorchDistribution, mask: Tensor | None) -> dist.TorchDistribution:
    """Make the cells of one example an event, leaving out those that are not observed.

    Parameters
    ----------
    base : Distribution
        Batch shape (n, ...), one independent distribution for each cell.
    mask : bool Tensor, optional
        Shape (n, ...), true where observed.

    Returns
    -------
    Distribution
        Batch shape (n,).

    Notes
    -----
    The mask comes before ``to_event``: a masked distribution with an event shape would need a
    mask of shape (n,).
    """
    event_dims = len(base.batch_shape) - 1
    if mask is not None:
        base = base.mask(mask)
    event: dist.TorchDistribution = base.to_event(event_dims)
    return event


def first_place(flags: Tensor) -> tuple[int, ...]:
    """Return the index of the first true element."""
    return tuple(int(i) for i in torch.nonzero(flags)[0])
