"""Noise of a location-scale family around the signal."""

from abc import abstractmethod
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from .base import Context, Observation


class LocationScale(Observation):
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
        super().__init__()
        value = torch.as_tensor(scale, dtype=torch.get_default_dtype()).detach().clone()
        if not bool(((value > 0) & value.isfinite()).all()):
            raise ValueError(f"scale must be positive and finite, got {scale!r}")
        if inverse_link is not None and not callable(inverse_link):
            raise TypeError(f"inverse_link must be a callable or None, got {inverse_link!r}")
        if not isinstance(learn_scale, bool):
            raise ValueError(f"learn_scale must be True or False, got {learn_scale!r}")
        self.inverse_link = inverse_link
        if learn_scale:
            self.log_scale = nn.Parameter(value.log())
        else:
            self.register_buffer("log_scale", value.log())

    @property
    def scale(self) -> Tensor:
        """Width of the noise."""
        return self.log_scale.exp()

    def signal(self, output: Tensor) -> Tensor:
        """Return the output through the inverse link, the centre of the noise."""
        return output if self.inverse_link is None else self.inverse_link(output)

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent noise around the signal."""
        return self.around(self.signal(output), mask=mask)

    @abstractmethod
    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent noise around a signal."""

    def link_range(self) -> tuple[float, float]:
        """Return the limits of the inverse link, by evaluating it far out on both sides."""
        if self.inverse_link is None:
            return super().link_range()
        ends = self.inverse_link(torch.tensor([-1e6, 1e6]))
        return float(ends.min()), float(ends.max())
