"""The chain of a prior that is known up to a constant: what moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

EnergyAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]


class PriorKernel(Protocol):
    """A Markov kernel on independent rows, such as those of ``explainaway.inference``."""

    def init(self, position: Tensor, potential: EnergyAndGradient) -> Any:
        """Return the state at a position (n, d); it has a ``position``."""

    def step(self, state: Any, potential: EnergyAndGradient, generator: Any) -> tuple[Any, Any]:
        """Return the next state, and what happened."""


class ShortRunState(NamedTuple):
    """Where the chains are, (n, d)."""

    position: Tensor


@dataclass(frozen=True)
class ShortRunLangevin:
    """The paper's own: ``z' = z - s²/2 ∇E(z) + s ξ``, without a correction.

    Parameters
    ----------
    step_size : float, default 0.4
        s. On N(0, 1) its variance is ``1 / (1 - s²/4)``, 4 % too large at the default.

    References
    ----------
    Pang et al. (2020); the step size and number of steps are those of its experiments.
    """

    step_size: float = 0.4

    def init(self, position: Tensor, potential: EnergyAndGradient) -> ShortRunState:
        """Return the state at a position."""
        return ShortRunState(position)

    def step(
        self, state: ShortRunState, potential: EnergyAndGradient, generator: torch.Generator
    ) -> tuple[ShortRunState, None]:
        """Return the next state."""
        position, s = state.position, self.step_size
        noise = torch.randn(
            position.shape, generator=generator, dtype=position.dtype, device=position.device
        )
        _, gradient = potential(position)
        return ShortRunState(position - 0.5 * s**2 * gradient + s * noise), None
