"""What every observation has to offer, and the helper that most of them need."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ..pieces import Context as Context
from ..pieces import Entry
from .hidden_cells import draw_hidden


class Observation(nn.Module, ABC):
    """How the network's output becomes data: a Pyro distribution and its inverse link.

    A family of its own is a small class:

    >>> import pyro.distributions as dist
    >>> from explainaway.models import Observation, factorised
    >>> class Logistic(Observation):
    ...     def distribution(self, output, *, mask=None, context=None):
    ...         return factorised(dist.Logistic(output, 0.1), mask)
    """

    entry: ClassVar[Entry]
    """Its line of the catalogue; an observation of one's own needs none."""

    fill_value: float = 0.0
    """What stands in a cell that is not observed; any value of the support does."""

    estimates_mean: bool = True
    """Whether :meth:`reconstruct` gives a mean, so that the mean over draws of z is one too."""

    is_held: bool = False
    """Whether what is learned of it in closed form stays as it is for now."""

    @abstractmethod
    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return ``p(y | output)``.

        Parameters
        ----------
        output : Tensor
            What the network gave, example first, (n, ...): of :meth:`output_shape`.
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

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the network's output for one example's data of a shape.

        The same but for families that need several outputs a cell, which come last: (..., k).
        """
        return tuple(shape)

    def learn_by_column(self, number: int) -> None:
        """Learn for each of so many columns side by side what would be learned for all as one.

        ``Columns`` asks for it. By default nothing is learned.
        """

    def signal(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the signal that is observed: the output through the inverse link.

        By default the estimate of y itself.
        """
        return self.reconstruct(output, context)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the estimate of y given the output: the mean, of categories the mode."""
        mean: Tensor = self.distribution(output, context=context).mean
        return mean

    def complete(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y with its hidden cells estimated from the output *and* the observed cells.

        Parameters
        ----------
        output : Tensor
            What the network gave, (n, ...).
        y, mask : Tensor
            As :meth:`prepare` gives them.
        context
            As in :meth:`distribution`.
        """
        return y if mask is None else torch.where(mask, y, self.reconstruct(output, context))

    def impute(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y with its hidden cells drawn given the output *and* the observed cells.

        By default from :meth:`distribution`: cell by cell, or by its ``draw_given(y)`` if it has
        that. Random numbers are torch's.

        Parameters
        ----------
        output, y, mask, context
            As in :meth:`complete`.

        Raises
        ------
        TypeError
            If the cells are not independent and the distribution has no ``draw_given``.
        """
        made = self.distribution(output, mask=mask, context=context)
        return draw_hidden(made, y, mask, type(self).__name__)

    def prepare(self, y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return y without NaN, and the mask of what is observed (None: everything)."""
        if mask is not None:
            raise ValueError(
                f"mask was given, but the observation {type(self).__name__} has no missing cells: "
                f"write Masked({type(self).__name__}(...))"
            )
        return y, None

    def validate(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Raise ValueError for data that the support alone does not exclude; by default nothing.

        Parameters
        ----------
        y, mask, context
            As the user gave them, (n, ...): before :meth:`prepare`.
        """

    def link_range(self) -> tuple[float, float]:
        """Return the smallest and largest signal that the inverse link can give."""
        return -float("inf"), float("inf")

    @property
    def has_closed_form(self) -> bool:
        """Whether :meth:`closed_form_step` learns something."""
        return False

    def closed_form_step(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> None:
        """Learn from a batch what needs no gradient; y and mask as :meth:`prepare` gives them."""


class NoiseAround(Protocol):
    """An observation whose data lie around a signal: what :class:`Sensed` needs of its base."""

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return ``p(y | signal)``; an operator may stand between the signal and this noise."""


class LearnsFromResiduals(Protocol):
    """An observation that learns in closed form from nothing but how far data lie from a signal."""

    def learn_from_residuals(
        self, residual: Tensor, mask: Tensor | None = None, context: Context | None = None
    ) -> None:
        """Learn from residuals (n, ...) of observed cells."""


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
