"""Observations around another one."""

from collections.abc import Callable, Sequence

import pyro.distributions as dist
from torch import Tensor

from .base import Context, Observation
from .callables import as_observation


class Wrapper(Observation):
    """An observation that changes what another one, its base, says of the data.

    The signal, what the base needs and checks, and whether it learns in closed form are the same in
    all wrappers. A wrapper says what it changes: by :meth:`distribution`, and where data are not
    what the base's are by :meth:`shape_of_base`, :meth:`link_range_around` and :meth:`check`.

    Parameters
    ----------
    base : Observation or callable
        What is wrapped.

    Raises
    ------
    TypeError
        If it is neither.
    """

    def __init__(self, base: Observation | Callable[[Tensor], dist.TorchDistribution]) -> None:
        super().__init__()
        self.base = as_observation(base)
        self.fill_value = self.base.fill_value
        self.estimates_mean = self.base.estimates_mean

    def shape_of_base(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the base's data, given that of one example's; by default the same."""
        return tuple(shape)

    def link_range_around(self, low: float, high: float) -> tuple[float, float]:
        """Return the limits of what data lie around, given those of the signal; here the same."""
        return low, high

    def check(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Raise ValueError for data that do not fit the wrapper; by default nothing.

        Parameters are those of :meth:`validate`, which lets the base check them afterwards.
        """

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return what the base needs."""
        return self.base.output_shape(self.shape_of_base(shape))

    def learn_by_column(self, number: int) -> None:
        """Let the base learn so."""
        self.base.learn_by_column(number)

    def signal(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the signal of the base."""
        return self.base.signal(output, context)

    def link_range(self) -> tuple[float, float]:
        """Return the limits of the base's inverse link, or of what becomes of them."""
        return self.link_range_around(*self.base.link_range())

    def validate(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Check what was given, and let the base check it."""
        self.check(y, mask, context)
        self.base.validate(y, mask, context)

    @property
    def has_closed_form(self) -> bool:
        """Whether the base has."""
        return self.base.has_closed_form
