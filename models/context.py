"""What belongs to the examples beside their data."""

from collections.abc import Mapping

from torch import Tensor

Context = Mapping[str, Tensor]
"""Example-first tensors by name, batched with y: exposure, an operator of each example, labels."""
