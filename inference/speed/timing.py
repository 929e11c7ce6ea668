"""How long a piece of work takes, for choices that are made by measuring."""

import time
from collections.abc import Callable


def least_seconds(work: Callable[[], object], num_calls: int) -> float:
    """Return the shortest of several calls: what else the machine does only adds to it."""
    times = []
    for _ in range(num_calls):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
