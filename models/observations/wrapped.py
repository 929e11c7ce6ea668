"""Plain callables as observations."""

from collections.abc import Callable
from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to

from .base import Context, Observation, factorised


class _CallableObservation(Observation):
    """An observation given by nothing but ``output -> Distribution``."""

    def __init__(self, function: Callable[[Tensor], dist.TorchDistribution]) -> None:
        super().__init__()
        self.function = function

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        made: Any = self.function(output)
        while isinstance(made, torch.distributions.Independent):
            made = made.base_dist
        if mask is not None and made.event_shape:
            raise ValueError(
                f"observation gives a {type(made).__name__} with correlated cells (event shape "
                f"{tuple(made.event_shape)}), from which missing cells cannot be left out by a "
                "mask: write an Observation whose distribution(output, mask=...) returns the "
                "marginal of the observed cells"
            )
        if mask is not None:
            made = _MaskedWithin(made, mask)  # type: ignore[no-untyped-call]
        return factorised(made, None)


class _MaskedWithin(dist.MaskedDistribution):
    """A masked distribution that asks for densities within its support only.

    What fills a hidden cell was chosen before the distribution was known; outside the support its
    density has no finite gradient, masked or not.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        support: Any = self.base_dist.support
        if not support.is_discrete:
            inside: Tensor = biject_to(support)(torch.zeros_like(value))
            value = torch.where(cast(Tensor, self._mask), value, inside)
        masked: Tensor = super().log_prob(value)  # type: ignore[no-untyped-call]
        return masked


def as_observation(
    observation: Observation | Callable[[Tensor], dist.TorchDistribution],
) -> Observation:
    """Return an :class:`Observation`, wrapping a plain callable ``output -> Distribution``.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(observation, Observation):
        return observation
    if isinstance(observation, type) or not callable(observation):
        raise TypeError(
            "observation must be an Observation (such as Gaussian(scale=0.3)) or a callable from "
            f"the network's output to a Pyro distribution, got {observation!r}"
        )
    return _CallableObservation(observation)
