"""Held-out examples: their chains move along with the others, θ does not see them."""

from typing import Any, NamedTuple

import torch

from ..kernels.base import Kernel
from ..potentials.coordinates import log_volume_of
from ..potentials.data import ExampleData
from ..potentials.potential import Potential
from ..potentials.trace import evaluation_mode
from .chains import Chains
from .visit import visit


class HeldOut(NamedTuple):
    """Examples that are not learned from.

    Attributes
    ----------
    examples : ExampleData
        All of them.
    chains : Chains
        Theirs.
    """

    examples: ExampleData
    chains: Chains

    def visited(
        self,
        potential: Potential,
        kernel: Kernel[Any],
        num_steps: int,
        batch_size: int,
        seed: int,
    ) -> float:
        """Move the chains as a visit of the loop does and return their mean energy after it.

        As in the loop's records it is that of white latents.
        """
        total, chains = 0.0, self.chains
        index = torch.arange(self.examples.num_examples, device=self.examples.device)
        with evaluation_mode(potential.model):
            for part in index.split(batch_size):
                of_part = potential.on(self.examples.select(part).repeat(chains.num_chains))
                moved = visit(chains, part, of_part, kernel, num_steps, seed)
                total += float(moved.energy) * len(part)
        return total / self.examples.num_examples - float(log_volume_of(potential.model))
