"""Plain callables as observations."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from .base import Context, Observation, factorised
from .masked_within import MaskedWithin


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
            made = MaskedWithin(made, mask)  # type: ignore[no-untyped-call]
        return factorised(made, None)


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
