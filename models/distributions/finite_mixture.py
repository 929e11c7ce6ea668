"""A mixture of distributions of one example's latent."""

from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor


class FiniteMixture(dist.TorchDistribution):
    """``p(z) = Σ_k softmax(logits)_k p_k(z)``.

    Unlike ``MixtureSameFamily`` it keeps its components' support, from which inference takes the
    map to the whole space.

    Parameters
    ----------
    logits : Tensor, (K,)
        Logarithms of the weights, up to a constant.
    components : Distribution
        Batch shape (K,), of any event shape.
    batch_shape : tuple of int, default ()
        Of independent copies.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self, logits: Tensor, components: dist.TorchDistribution, batch_shape: Any = ()
    ) -> None:
        self.logits = logits
        self.components = components
        super().__init__(torch.Size(batch_shape), components.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """That of the components."""
        return self.components.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FiniteMixture":
        """Return the same distribution with more batch dimensions."""
        return FiniteMixture(self.logits, self.components, batch_shape)

    def joint_log_prob(self, value: Tensor) -> Tensor:
        """Return ``log p(z, k)``, (..., K), in nats."""
        each: Tensor = self.components.log_prob(value.unsqueeze(-1 - self.event_dim))
        return self.logits.log_softmax(-1) + each

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, in nats."""
        total: Tensor = self.joint_log_prob(value).logsumexp(-1)
        return total.expand(torch.broadcast_shapes(total.shape, self.batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return draws, which are not differentiable: a component is chosen for each."""
        with torch.no_grad():
            leading = torch.Size(sample_shape) + self.batch_shape
            which = torch.distributions.Categorical(logits=self.logits).sample(leading)
            drawn: Tensor = self.components.sample(leading)  # (..., K, event)
            index = which.reshape(*leading, 1, *[1] * self.event_dim)
            index = index.expand(*leading, 1, *self.event_shape)
            place = -1 - self.event_dim
            return drawn.gather(place, index).squeeze(place)

    @property
    def mean(self) -> Tensor:
        """Mean of the mixture."""
        return self._weighted(self.components.mean).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Variance of each component of the event."""
        mean = self._weighted(self.components.mean)
        square = self._weighted(self.components.variance + self.components.mean**2)
        return (square - mean**2).expand(self.batch_shape + self.event_shape)

    def _weighted(self, moments: Tensor) -> Tensor:
        weighted: Tensor = torch.tensordot(self.logits.softmax(-1), moments, 1)
        return weighted
