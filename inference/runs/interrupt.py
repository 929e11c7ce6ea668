"""Ctrl-C at a moment when nothing is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..speed import is_compiling


class InterruptFlag:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def deferred_interrupt() -> Iterator[InterruptFlag]:
    """Turn the first Ctrl-C into a flag that a loop reads between two steps.

    A second one interrupts at once, and so does the first while something is compiled, which takes
    long and leaves nothing half done that a checkpoint would hold. Outside the main thread, where
    no signal arrives, nothing is changed.
    """
    flag = InterruptFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = signal.getsignal(signal.SIGINT)

    def handle(signum: int, frame: FrameType | None) -> None:
        if is_compiling():
            raise KeyboardInterrupt(
                "stopped while compiling; a checkpoint that was written before is in order"
            )
        if flag.requested:
            raise KeyboardInterrupt
        flag.requested = True

    signal.signal(signal.SIGINT, handle)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, previous)
