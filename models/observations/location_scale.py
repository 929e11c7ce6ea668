"""Noise of a location-scale family around the signal."""

from collections.abc import Callable

from torch import Tensor, nn

from ..arguments import checked_positive
from .around_signal import AroundSignal
from .noise_settings import by_column


class LocationScale(AroundSignal):
    """Independent noise of one shape and width around ``inverse_link(output)``.

    Parameters
    ----------
    scale : float or Tensor
        Width of the noise in the units of y; a tensor has to broadcast to one example's data.
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise; by default the identity.
    learn_scale : bool
        Learn the scale with the network, by its gradient.

    Raises
    ------
    TypeError
        If ``inverse_link`` is not callable.
    ValueError
        If ``scale`` is not positive and finite, or ``learn_scale`` is not a boolean.
    """

    log_scale: Tensor

    def __init__(
        self,
        scale: float | Tensor,
        inverse_link: Callable[[Tensor], Tensor] | None,
        learn_scale: bool,
    ) -> None:
        super().__init__(inverse_link)
        value = checked_positive("scale", scale)
        if not isinstance(learn_scale, bool):
            raise ValueError(f"learn_scale must be True or False, got {learn_scale!r}")
        if learn_scale:
            self.log_scale = nn.Parameter(value.log())
        else:
            self.register_buffer("log_scale", value.log())

    def learn_by_column(self, number: int) -> None:
        """Learn a scale for each column, if one is learned at all and it is one number."""
        if isinstance(self.log_scale, nn.Parameter) or self.has_closed_form:
            by_column(self, "log_scale", number)

    @property
    def scale(self) -> Tensor:
        """Width of the noise."""
        return self.log_scale.exp()
