"""When a learning run may stop before its last epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..arguments import check_positive, plain_settings


@dataclass(frozen=True)
class NoProgress:
    """Stop when the mean over the last ``patience`` epochs is no better than over those before.

    A loss estimated from chains is noisy from epoch to epoch, so windows are compared, not epochs.
    Give it to ``fit(stop=)``, together with validation data if it shall look at those.

    Parameters
    ----------
    patience : int, default 10
        Epochs of each window; the run has at least twice as many.
    key : str, default "loss"
        Entry of the history, lower is better: ``"loss"`` or ``"validation_energy"``.
    least_gain : float, default 0
        By how much the later mean must be lower, nats per example.

    Raises
    ------
    ValueError
        If ``patience`` is not positive; at the first epoch if the history has no such key.
    """

    patience: int = 10
    key: str = "loss"
    least_gain: float = 0.0

    def __post_init__(self) -> None:
        plain_settings(self)
        check_positive("patience", self.patience)

    def __call__(self, history: Mapping[str, Sequence[float]]) -> bool:
        """Return whether to stop after the epochs in the history."""
        if self.key not in history:
            raise ValueError(
                f"key must be an entry of the history, one of {sorted(history)}, got {self.key!r}"
            )
        values = _comparable(history, self.key)
        if len(values) < 2 * self.patience:
            return False
        later = sum(values[-self.patience :]) / self.patience
        earlier = sum(values[-2 * self.patience : -self.patience]) / self.patience
        return not later < earlier - self.least_gain


def _comparable(history: Mapping[str, Sequence[float]], key: str) -> list[float]:
    """Return the values since the data that are learned from last changed, known ones only."""
    values, held = history[key], history.get("num_held_out", ())
    since = next((i for i in range(len(held), 0, -1) if held[i - 1] != held[-1]), 0)
    return [value for value in values[since:] if not math.isnan(value)]
