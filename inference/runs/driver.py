"""The loop of all long work: its progress bar, its checkpoint, its timing and Ctrl-C."""

import time
from pathlib import Path
from typing import Protocol

from tqdm.auto import tqdm

from ..speed import CompileChoice
from .interrupt import deferred_interrupt

SHOWN_EVERY = 1.0
"""Seconds between two texts of the progress bar, which take some work."""


class Work(Protocol):
    """Long work in iterations, which can be saved between any two of them."""

    @property
    def unit(self) -> str:
        """What an iteration is called."""

    @property
    def num_made(self) -> int:
        """Iterations so far, those of an earlier process included."""

    @property
    def num_iterations(self) -> int:
        """Iterations of the whole."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do; a rule may end work before its last iteration."""

    @property
    def compile_choice(self) -> CompileChoice:
        """What is told how long iterations take."""

    def advance(self) -> None:
        """Make one iteration: what is timed."""

    def conclude(self, seconds: float) -> None:
        """Do what follows an iteration that took so long: keep books, end an epoch or a chunk."""

    def save(self, path: Path) -> None:
        """Write everything that going on takes."""

    def stage(self) -> str:
        """Return what is being done, for the progress bar."""

    def numbers(self) -> dict[str, str]:
        """Return what the progress bar shows beside it."""

    def cut_short(self) -> bool:
        """Plan no more than what is nearly made already; False if that would be of no use."""

    def how_to_go_on(self, checkpoint: Path | None) -> str:
        """Return what to tell who pressed Ctrl-C."""


def drive(
    work: Work, checkpoint: Path | None, checkpoint_seconds: float, show_progress: bool
) -> None:
    """Carry work to its end.

    Parameters
    ----------
    work : Work
        May have come some way already.
    checkpoint : Path, optional
        File to save it in, at the end too.
    checkpoint_seconds : float
        Least time between two writings of it.
    show_progress : bool
        Whether to show a progress bar.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, between two iterations, when all is saved; the message says how to go on.
        Not without a checkpoint, if the work can be cut short.
    OSError
        If the checkpoint cannot be written; the message says how far the work had come.
    """
    bar = tqdm(
        total=work.num_iterations,
        initial=work.num_made,
        desc=work.stage(),
        unit=work.unit,
        disable=not show_progress,
    )
    with deferred_interrupt() as interrupt, bar:
        saved_at = shown_at = time.monotonic()
        ending = False
        while not work.is_over:
            began = time.monotonic()
            work.advance()
            seconds = time.monotonic() - began
            work.conclude(seconds)
            work.compile_choice.after_iteration(seconds, work.num_iterations - work.num_made)
            # An end that is found on the way moves.
            bar.total = work.num_iterations
            bar.update()
            now = time.monotonic()
            if show_progress and (now - shown_at > SHOWN_EVERY or work.is_over):
                bar.set_description(work.stage(), refresh=False)
                bar.set_postfix(work.numbers(), refresh=False)
                shown_at = now
            due = now - saved_at >= checkpoint_seconds
            # Asked for once: Ctrl-C after this is for the next iteration, and is saved with it.
            stopped = interrupt.requested
            if checkpoint is not None and (due or stopped or work.is_over):
                _save(work, checkpoint)
                saved_at = now
            if stopped and not work.is_over and not ending:
                ending = checkpoint is None and work.cut_short()
                if not ending:
                    raise KeyboardInterrupt(work.how_to_go_on(checkpoint))


def _save(work: Work, checkpoint: Path) -> None:
    try:
        work.save(checkpoint)
    except OSError as error:
        raise OSError(
            error.errno,
            f"the work came to {work.unit} {work.num_made} of {work.num_iterations}, and then its "
            f"checkpoint could not be written: {error.strerror}",
        ) from error
