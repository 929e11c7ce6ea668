"""Threads that use models take turns: a model's modes and torch's random state are everybody's."""

import threading

TURNS = threading.RLock()
"""Held where a model is run in another mode than it was left in, or random numbers are seeded."""
