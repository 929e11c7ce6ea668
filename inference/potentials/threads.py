"""Calls from several threads take turns: Pyro's handlers and torch's random state are global."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LOCK = threading.RLock()


def one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function wait until no other thread is in one of these."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with LOCK:
            return function(*args, **kwargs)

    return run


def turn_of(model: Any) -> AbstractContextManager[Any]:
    """Return what holds off a model's own calls by other threads: its ``turns``, where it has them.

    It is held for as long as the model's mode or parameters change, not for a whole fit, so that
    whoever decodes meanwhile waits for one visit. Who holds :data:`LOCK` may take it, not the
    other way round.
    """
    turns: AbstractContextManager[Any] = getattr(model, "turns", nullcontext())
    return turns
