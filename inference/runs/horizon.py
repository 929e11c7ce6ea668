"""How long a fit learns at a constant rate, and how the rate falls afterwards."""

import math
from dataclasses import dataclass

CONSTANT_SHARE = 0.6
"""Of all epochs; the rate falls linearly to zero in the others."""

MOST_EPOCHS = 1000
"""Of a fit that finds their number itself."""

ENOUGH = 0.01
"""Nats per example: what going on as long again must gain to be worth it."""


@dataclass
class Horizon:
    """The end of a fit, known beforehand or found on the way.

    Attributes
    ----------
    epochs : int or None
        Number of epochs; None until it has been found.
    """

    epochs: int | None

    @property
    def constant(self) -> int:
        """Epochs at a constant rate; at most these many where the end has not been found."""
        epochs = MOST_EPOCHS if self.epochs is None else self.epochs
        return max(1, round(CONSTANT_SHARE * epochs))

    def rate(self, epoch: float) -> float:
        """Return the share of the rate at a time, in epochs."""
        if self.epochs is None or epoch < self.constant:
            return 1.0
        return (self.epochs - epoch) / (self.epochs - self.constant)

    def end_constant(self, epoch: int) -> None:
        """Let the rate fall from an epoch on, over two thirds as many as have been made."""
        self.epochs = math.ceil(epoch / CONSTANT_SHARE)
