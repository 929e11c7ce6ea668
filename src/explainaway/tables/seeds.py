"""Seeds of the parts of a work that has one."""

import operator
from typing import Any

import numpy as np


def checked_seed(seed: Any) -> int:
    """Return a seed, of NumPy perhaps, as Python's whole number."""
    try:
        return operator.index(seed)
    except TypeError as error:
        raise TypeError(f"seed must be a whole number, got {seed!r}") from error


def seed_of(part: int, seed: int) -> int:
    """Return the seed of a part: neither other parts' numbers nor another seed's are met again."""
    words = np.random.SeedSequence(seed % 2**64, spawn_key=(part,)).generate_state(1, np.uint64)
    return int(words[0] >> 1)
