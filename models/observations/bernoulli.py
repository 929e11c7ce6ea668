"""Yes/no data."""

import pyro.distributions as dist
from torch import Tensor

from ..distributions.cells import Cells
from ..pieces import Entry
from .base import Context, Observation


class Bernoulli(Observation):
    """Independent yes/no cells, ``y ~ Bernoulli(sigmoid(output))``; y holds 0 and 1.

    The network's output are logits, so it must end linear.
    """

    entry = Entry("y ~ Bernoulli(sigmoid(output))", "Han et al. (2017), section 2.1", "Bernoulli()")

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent Bernoulli distributions with the output as logits."""
        return Cells(_Bernoulli(logits=output), mask)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent Bernoulli distributions with the signal as probabilities."""
        return Cells(_Bernoulli(probs=signal), mask)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the probability of 1."""
        return output.sigmoid()

    def link_range(self) -> tuple[float, float]:
        """Return 0 and 1."""
        return 0.0, 1.0


class _Bernoulli(dist.Bernoulli):  # type: ignore[misc]  # Pyro makes it at import
    """Bernoulli with its Fisher information."""

    def information(self) -> list[tuple[Tensor, Tensor]]:
        return [(self.logits, self.probs * (1 - self.probs))]
