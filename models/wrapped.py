"""Plain callables as observations, plain Pyro distributions as priors."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from .observation import Context, Observation, Prior, factorised


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
        return factorised(made, mask)

    def mean(self, output: Tensor, context: Context | None = None) -> Tensor:
        mean: Tensor = self.distribution(output).mean
        return mean


class _FixedPrior(Prior):
    """A prior given as a Pyro distribution; all its dimensions belong to one example."""

    def __init__(self, fixed: dist.TorchDistribution) -> None:
        super().__init__()
        self.fixed: dist.TorchDistribution = fixed.to_event(len(fixed.batch_shape))

    def distribution(self) -> dist.TorchDistribution:
        return self.fixed


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


def as_prior(prior: Prior | dist.TorchDistribution) -> Prior:
    """Return a :class:`Prior`, wrapping a plain Pyro distribution of one example's latent.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If the distribution is that of a single number, without a dimension.
    """
    if isinstance(prior, Prior):
        return prior
    if not isinstance(prior, TorchDistributionMixin):
        raise TypeError(
            "prior must be a Prior (such as Normal(100)) or a Pyro distribution of one example's "
            f"latent, got {prior!r}"
        )
    if not prior.batch_shape + prior.event_shape:
        raise ValueError(
            "prior must have at least one dimension, the latent's, got a distribution of a single "
            f"number: write {type(prior).__name__}(...).expand([d])"
        )
    return _FixedPrior(prior)
