"""Hidden cells of distributions with a bounded support."""

from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to


class MaskedWithin(dist.MaskedDistribution):
    """A masked distribution that asks for densities within its support only.

    What fills a hidden cell was chosen before the distribution was known; outside the support its
    density has no finite gradient, masked or not.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of observed cells, 0 for hidden ones."""
        support: Any = self.base_dist.support
        if not support.is_discrete:
            inside: Tensor = biject_to(support)(torch.zeros_like(value))
            value = torch.where(cast(Tensor, self._mask), value, inside)
        masked: Tensor = super().log_prob(value)  # type: ignore[no-untyped-call]
        return masked
