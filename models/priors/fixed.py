"""Plain Pyro distributions as priors."""

from copy import copy
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin

from .base import Prior


class _FixedPrior(Prior):
    """A prior given as a Pyro distribution; all its dimensions belong to one example."""

    def __init__(self, fixed: dist.TorchDistribution) -> None:
        super().__init__()
        event = fixed.to_event(len(fixed.batch_shape))
        self.fixed: dist.TorchDistribution = _validating_by_default(event)

    def distribution(self) -> dist.TorchDistribution:
        return self.fixed


def _validating_by_default(given: Any) -> Any:
    """Return a copy that checks values where Pyro does so just then.

    ``expand`` writes into a distribution whether that was so when it was called, and a model that
    checks values cannot be captured.
    """
    made = copy(given)
    vars(made).pop("_validate_args", None)
    for name, part in list(vars(made).items()):
        if isinstance(part, torch.distributions.Distribution):
            setattr(made, name, _validating_by_default(part))
    return made


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
