"""How the learning rate of a fit falls, slowly and then to zero, and when it ends."""

import math
import warnings
from typing import Literal, NamedTuple

from .score_test import ScoreGain
from .travel import Gain, Travel

SLOW_SHARE = 0.6
"""Of all epochs: in them the rate falls slowly, in the others linearly to zero."""


MOST_EPOCHS = 1000
"""Of a fit whose end is to be found."""

SLOWED_AFTER = 20
"""Epochs after which the rate has fallen by √2 while it falls slowly; as the root of time then."""

LEAST_SLOW = 20
"""Epochs before an end is looked for: the first gradients of θ say little of where it goes."""

LEAST_FALL = 40
"""Epochs in which the rate falls to zero, where the end is found on the way."""

QUIET = 3
"""Windows in a row in which no gain is seen."""


class Horizon(NamedTuple):
    """The end of a fit.

    Attributes
    ----------
    epochs : int or None
        Their number; None until it has been found.
    falls_from : int or None
        Epoch from which the rate falls, where that has been found on the way.
    is_of_held_out : bool
        Whether held-out cells have told the end.
    """

    epochs: int | None = None
    falls_from: int | None = None
    is_of_held_out: bool = False

    @property
    def before_fall(self) -> int:
        """Epochs before the rate falls to zero, not all; the most where no end has been found."""
        if self.falls_from is not None:
            return self.falls_from
        epochs = self.epochs or MOST_EPOCHS
        return min(round(SLOW_SHARE * epochs), epochs - 1)

    @property
    def learns_all_from(self) -> int | None:
        """Epochs before all cells are learned from, half of the fall; None where it is not known.

        While the rate falls a network still learns by heart what it sees, and a noise scale goes
        down: held-out cells watch over the first half of it.
        """
        if self.epochs is None:
            return None
        return self.before_fall + (self.epochs - self.before_fall) // 2

    def rate(self, time: float) -> float:
        """Return the share of the rate at a time, in epochs."""
        slowed = math.sqrt(1 / (1 + min(time, self.before_fall) / SLOWED_AFTER))
        if self.epochs is None or time < self.before_fall:
            return slowed
        return slowed * (self.epochs - time) / (self.epochs - self.before_fall)

    def after(
        self, epoch: int, travel: Travel, overfits: bool = False, gains_nothing: bool = False
    ) -> "Horizon":
        """Return the horizon after an epoch: nearer where learning on is of no use or harm.

        Parameters
        ----------
        epoch : int
            Epochs made.
        travel : Travel
            Of θ: where the end is to be found, the rate falls when it goes nowhere any more.
        overfits : bool, default False
            Whether held-out cells are explained worse than before: the rate falls now.
        gains_nothing : bool, default False
            Whether they are explained no better: where the end is to be found, that is enough.
        """
        arrived = epoch >= LEAST_SLOW and travel.quiet >= QUIET
        overfits = overfits and epoch < self.before_fall
        gains_nothing = gains_nothing and self.epochs is None
        is_found = self.epochs is None and (arrived or epoch >= self.before_fall)
        if is_found or overfits or gains_nothing:
            fall = max(LEAST_FALL, math.ceil(2 * epoch / 3))
            end = min(epoch + fall, self.epochs or MOST_EPOCHS)
            return Horizon(end, epoch, overfits or gains_nothing)
        return self

    def prolonged(self, epoch: int, epochs: int | Literal["auto"], rate_falls: bool) -> "Horizon":
        """Return what becomes of a horizon when a run goes on to another number of epochs.

        It warns where the rate has begun to fall: the run is not the one that was longer from
        the start.
        """
        if epochs == "auto" or epochs == self.epochs:
            return self
        if rate_falls and self.epochs is not None and epoch > self.before_fall:
            warnings.warn(
                f"the learning rate has fallen since epoch {self.before_fall}, for an end after "
                f"{self.epochs} epochs: going on to {epochs} is not the run that was made for "
                f"{epochs} from the start",
                stacklevel=4,
            )
        return Horizon(epochs)


def warn_of_way_to_go(gain: Gain | None, score_gain: ScoreGain | None, epochs: int) -> None:
    """Warn if learning has ended while θ was still on its way."""
    if gain is not None and gain.is_seen:
        found = (
            f"the loss still falls where θ goes, by {gain.nats:.3g} nats per example (standard "
            f"error {gain.error:.2g}) if it went on as far again"
        )
    elif score_gain is not None and score_gain.is_seen:
        found = (
            f"the loss still has a slope, worth at least {score_gain.nats:.3g} nats per example "
            f"(standard error {score_gain.error:.2g})"
        )
    else:
        return
    warnings.warn(
        f"learning has not arrived after {epochs} epochs: {found}. Learn longer, "
        f"epochs={2 * epochs} say, or with a higher rate",
        LearningWarning,
        stacklevel=4,
    )


class LearningWarning(UserWarning):
    """Parameters that are not what learning on would make of them."""
