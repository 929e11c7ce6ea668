"""Distributions over numbered levels, 0 to K - 1, and the checks that go with them."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor


class Levels(dist.Categorical):
    """A categorical distribution whose samples are floating point, as all data are here."""

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return levels as floating-point numbers."""
        drawn: Tensor = super().sample(torch.Size(sample_shape))  # type: ignore[no-untyped-call]
        return drawn.to(self.logits.dtype)

    def information(self) -> list[tuple[Tensor, Tensor]]:
        """Return the roots of the probabilities: the information about each of them is 4.

        ``Σ (∂p)² / p = 4 Σ (∂√p)²``, where nothing is divided by a small probability.
        """
        roots = (0.5 * self.logits).exp()
        return [(roots, torch.full_like(roots, 4.0))]


def check_num_levels(name: str, value: int) -> None:
    """Raise ValueError unless an argument is an integer of at least 2."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 2:
        raise ValueError(f"{name} must be an integer of at least 2, got {value!r}")


def check_outputs(observation: object, output: Tensor, needed: int) -> None:
    """Raise ValueError unless a network's output ends in as many numbers as a cell needs."""
    if output.dim() < 2 or output.shape[-1] != needed:
        raise ValueError(
            f"{type(observation).__name__} needs {needed} outputs a cell, in the last dimension of "
            f"the network's output, which has shape {tuple(output.shape)}: make a network of "
            "observation.output_shape(shape of one example's data)"
        )
