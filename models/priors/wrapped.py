"""Plain Pyro distributions as priors."""

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin

from .base import Prior


class _FixedPrior(Prior):
    """A prior given as a Pyro distribution; all its dimensions belong to one example."""

    def __init__(self, fixed: dist.TorchDistribution) -> None:
        super().__init__()
        self.fixed: dist.TorchDistribution = fixed.to_event(len(fixed.batch_shape))

    def distribution(self) -> dist.TorchDistribution:
        return self.fixed


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
