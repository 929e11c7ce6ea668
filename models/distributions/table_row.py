"""The distribution of a row whose columns are of different kinds."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from .supports import elementwise


class TableRow(dist.TorchDistribution):
    """Independent distributions of columns side by side as one event.

    Parameters
    ----------
    labels : sequence of str
        What each part is called, for messages.
    parts : sequence of Distribution
        The same batch shape, each with an event shape (columns of the part,).
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, labels: Sequence[str], parts: Sequence[dist.TorchDistribution]) -> None:
        self.labels, self.parts = tuple(labels), tuple(parts)
        self.widths = [part.event_shape[0] for part in parts]
        super().__init__(parts[0].batch_shape, torch.Size([sum(self.widths)]), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        """Each column's own."""
        supports = [elementwise(part.support) for part in self.parts]
        return constraints.independent(TableRowSupport(self.labels, self.widths, supports), 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "TableRow":
        """Return the same distribution with more batch dimensions."""
        return TableRow(self.labels, [part.expand(torch.Size(batch_shape)) for part in self.parts])

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of rows, in nats."""
        values = value.split(self.widths, -1)
        densities = [part.log_prob(some) for part, some in zip(self.parts, values, strict=True)]
        return torch.stack(densities).sum(0)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return rows."""
        return torch.cat([part.sample(torch.Size(sample_shape)) for part in self.parts], -1)

    @property
    def mean(self) -> Tensor:
        """Each column's mean, NaN where it has none (categories)."""
        return torch.cat([part.mean for part in self.parts], -1)

    @property
    def variance(self) -> Tensor:
        """Each column's variance, NaN where it has none (categories)."""
        return torch.cat([part.variance for part in self.parts], -1)

    def fisher(self) -> list[tuple[Tensor, Tensor]]:
        """Return the pairs (parameter, information) of all columns.

        Raises
        ------
        NotImplementedError
            If a column's distribution does not know its own.
        """
        pairs: list[tuple[Tensor, Tensor]] = []
        for label, part in zip(self.labels, self.parts, strict=True):
            if not hasattr(part, "fisher"):
                raise NotImplementedError(
                    f"the metric needs the Fisher information of column {label}, whose "
                    f"{type(part).__name__} has no method fisher() that returns pairs (parameter, "
                    "information per cell)"
                )
            pairs += part.fisher()
        return pairs


class TableRowSupport(constraints.Constraint):
    """Each column within its own support, cell by cell."""

    def __init__(self, labels: Sequence[str], widths: Sequence[int], supports: Sequence[Any]):
        self.labels, self.widths, self.supports = labels, list(widths), supports
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return, of the value's shape, whether a cell is in its column's support."""
        values = value.split(self.widths, -1)
        checks = [
            support.check(some)
            if support.event_dim == 0
            else torch.ones_like(some, dtype=torch.bool)
            for support, some in zip(self.supports, values, strict=True)
        ]
        return torch.cat(checks, -1)

    def __str__(self) -> str:
        return ", ".join(
            f"{label}: {support}" for label, support in zip(self.labels, self.supports, strict=True)
        )
