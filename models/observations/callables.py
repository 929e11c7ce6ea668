"""Plain callables as observations."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..distributions.masked_within import MaskedWithin
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
            made = MaskedWithin(made, mask)  # type: ignore[no-untyped-call]
        return factorised(made, None)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        # Holds only where the callable's mean is its argument: see check_signal_is_argument.
        return self.distribution(signal, mask=mask, context=context)


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


def check_signal_is_argument(observation: Observation, shape: Sequence[int]) -> None:
    """Raise ValueError for a wrapped callable whose data do not lie around its argument.

    Only of a family of locations, such as ``lambda output: dist.Laplace(output, 0.1)``, is it known
    without more how the data lie around a signal: the signal is the argument.

    Parameters
    ----------
    observation : Observation
        Any; only wrapped callables are checked.
    shape : sequence of int
        Of one example's data.
    """
    if not isinstance(observation, _CallableObservation):
        return
    probe = torch.linspace(-2.0, 2.0, math.prod(shape)).reshape(1, *shape)
    try:
        with torch.no_grad():
            mean = observation.function(probe).mean
    except ValueError:  # the probe is no parameter of the family
        mean = None
    if mean is None or mean.shape != probe.shape or not torch.allclose(mean, probe):
        raise ValueError(
            "the mean of the distribution that the callable returns is not its argument, so its "
            "signal is not known: write an Observation with signal(output) and around(signal)"
        )
