"""Paired timings: two pieces of work in turn, their ratio pair by pair.

A shared machine changes its speed from second to second, and both pieces of a pair see the same
one; the order within a pair alternates. The interval is that of the median by order statistics, at
least 95 %.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """Time of one piece of work over that of another.

    Attributes
    ----------
    median, low, high : float
        Of the pairs' ratios, with its interval.
    pairs : int
        How many there were.
    microseconds, other_microseconds : float
        Median time of each piece of work; on this machine, at this moment.
    """

    median: float
    low: float
    high: float
    pairs: int
    microseconds: float
    other_microseconds: float

    @staticmethod
    def of(times: Sequence[tuple[float, float]]) -> "Ratio":
        """Return the ratio of the pairs' times, in seconds."""
        ratios = sorted(a / b for a, b in times)
        below = _rank(len(times))
        return Ratio(
            median(ratios),
            ratios[below],
            ratios[len(times) - 1 - below],
            len(times),
            1e6 * median(a for a, _ in times),
            1e6 * median(b for _, b in times),
        )

    def times(self, factor: float) -> "Ratio":
        """Return the ratio for another unit of work."""
        return replace(
            self, median=self.median * factor, low=self.low * factor, high=self.high * factor
        )


def paired(
    work: Work, other: Work, pairs: int = 21, seconds: float = 0.05, warmup: int = 3
) -> Ratio:
    """Return the ratio of two times.

    Parameters
    ----------
    work, other : callable
        What is timed.
    pairs : int, default 21
        Pairs that are timed.
    seconds : float, default 0.05
        Least time of a measurement: short work is repeated within it.
    warmup : int, default 3
        Calls of each that are not timed.
    """
    for _ in range(warmup):
        work()
        other()
    repeats = [_repeats(one, seconds) for one in (work, other)]
    times: list[tuple[float, float]] = []
    for pair in range(pairs):
        if pair % 2:
            second = _time(other, repeats[1])
            first = _time(work, repeats[0])
        else:
            first = _time(work, repeats[0])
            second = _time(other, repeats[1])
        times.append((first, second))
    return Ratio.of(times)


def _repeats(work: Work, seconds: float) -> int:
    return max(1, math.ceil(seconds / max(min(_time(work, 1) for _ in range(3)), 1e-7)))


def _time(work: Work, repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - began) / repeats


def _rank(count: int) -> int:
    """Return how many ratios to leave out on each side for an interval of at least 95 %."""
    cumulative, rank = 0.0, -1
    while cumulative + math.comb(count, rank + 1) / 2**count <= 0.025:
        rank += 1
        cumulative += math.comb(count, rank) / 2**count
    return max(rank, 0)
