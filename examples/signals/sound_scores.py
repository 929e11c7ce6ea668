"""What is said of a synthesised sound: its distance over that of two halves, what is copied."""

import numpy as np
from torch import Tensor

from explainaway.sound_distance import nearest_excerpts, sound_distances, sound_statistics

from .data import RATE

COPIED = 0.2
"""An excerpt nearer to the exemplar than this (over its power) counts as copied."""

LENGTH = 1024
"""Of an excerpt, in samples: 93 ms."""


class SoundScores:
    """Scores of sounds against one exemplar, made as those of textures are.

    Parameters
    ----------
    exemplar : Tensor, (1, t)
    """

    def __init__(self, exemplar: Tensor) -> None:
        self.exemplar = exemplar[0].double().numpy()
        self.halves = [sound_statistics(half, RATE) for half in self._pieces(self.exemplar)]
        self.floor = sound_distances(*self.halves)

    def __call__(self, sound: Tensor) -> dict[str, float | list[float]]:
        """Return the scores of a sound (1, t) of at least the exemplar's length."""
        made = sound[0].double().numpy()
        pieces = [sound_statistics(piece, RATE) for piece in self._pieces(made)]
        apart = [sound_distances(piece, half) for piece in pieces for half in self.halves]
        ratios = np.mean(apart, 0) / self.floor
        return {
            "distance": float(np.exp(np.log(ratios).mean())),
            "by kind": ratios.tolist(),
            **_copied(made, self.exemplar),
        }

    def of_halves(self) -> dict[str, float | list[float]]:
        """Return the scores of the exemplar's halves against each other."""
        return {
            "distance": 1.0,
            "by kind": [1.0] * len(self.floor),
            **_copied(*self._pieces(self.exemplar)),
        }

    def _pieces(self, sound: np.ndarray) -> list[np.ndarray]:
        length = len(self.exemplar) // 2
        return [
            sound[start : start + length] for start in range(0, len(sound) - length + 1, length)
        ]


def _copied(sound: np.ndarray, exemplar: np.ndarray) -> dict[str, float | list[float]]:
    nearest = nearest_excerpts(sound, exemplar, LENGTH)
    return {
        "nearest excerpt": float(np.median(nearest)),
        "copied": float((nearest < COPIED).mean()),
    }
