"""Whether held-out cells are still better explained than before."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from .held_out_score import HeldOutScore
from .travel import GROWTH

FIRST = 4
"""Scores in the first span."""

STANDARD_ERRORS = 1.0
"""By how many of them a span must be better than the one before for a gain to be seen: to go on for
nothing costs time, to end too early costs what was to be learned."""

QUIET = 2
"""Spans in a row without a gain after which none is expected: single ones are too small to see."""


class HeldOutGain:
    """Means of scores over spans, each longer than the one before, compared cell by cell.

    One window of epochs has few draws at θ as it is thrown about; the mean of the scores of many
    windows says where learning has come, and the difference of two says where it goes.

    Attributes
    ----------
    quiet : int
        Spans in a row that were not better than those before.
    """

    def __init__(self) -> None:
        self.quiet = 0
        self.count = 0
        self.begin, self.end = 0, FIRST
        self.mean: Tensor | None = None
        self.before: Tensor | None = None

    def add(self, score: HeldOutScore) -> None:
        """Take in the score of a window."""
        self.count += 1
        share = 1 / (self.count - self.begin)
        self.mean = score.nats if self.mean is None else self.mean.lerp(score.nats, share)
        if self.count == self.end:
            if self.before is not None:
                change = replace(score, nats=self.mean).less(replace(score, nats=self.before))
                is_seen = change.mean < -STANDARD_ERRORS * change.error
                self.quiet = 0 if is_seen else self.quiet + 1
            self.before, self.mean = self.mean, None
            self.begin, self.end = self.end, math.ceil(self.end * GROWTH)

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return dict(vars(self))

    def take_back(self, content: Mapping[str, Any]) -> None:
        """Be again as in :meth:`to_dict`."""
        vars(self).update(content)
