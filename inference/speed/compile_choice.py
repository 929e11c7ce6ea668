"""Whether to compile, found out by timing."""

from statistics import median
from typing import Literal

from ..potentials.evaluation import Evaluator
from .evaluator import STEP_COMPILED_FROM

Compile = bool | Literal["auto"]

COMPILE_SECONDS = 45.0
"""What compiling a run costs: a visit 15 to 25 s, a gradient 5 s, a last, smaller batch as much."""

EXPECTED_SAVING = 0.25
"""Share of the time that compiling saves: measured .1 to .7, the more the smaller the network."""

SETTLING = 2 * STEP_COMPILED_FROM
"""Iterations that are not timed, because something is captured or compiled in them."""

TIMED = 15
"""Iterations that are timed."""


def check_compile(compile: Compile) -> None:
    """Raise ValueError unless it is True, False or "auto"."""
    if compile is not True and compile is not False and compile != "auto":
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}')


class CompileChoice:
    """Decides for ``"auto"``: compiles when the work ahead pays for it, keeps what is faster.

    Parameters
    ----------
    compile : bool or "auto"
        The user's setting.
    evaluator : Evaluator
        What is switched.
    """

    def __init__(self, compile: Compile, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._open = compile == "auto"
        self._times: list[float] = []
        self._before: float | None = None
        evaluator.compile(compile is True)

    @property
    def decided(self) -> bool | None:
        """What was decided, for a checkpoint; None while it is open."""
        return None if self._open else self._evaluator.compiles

    def resume(self, decided: bool | None) -> None:
        """Take over the decision of an earlier part of the run."""
        if self._open and decided is not None:
            self._open = False
            self._evaluator.compile(decided)

    def after_iteration(self, seconds: float, left: int) -> None:
        """Note how long an iteration took; ``left`` such are still to come."""
        if not self._open:
            return
        self._times.append(seconds)
        if len(self._times) < SETTLING + TIMED:
            return
        typical = median(self._times[SETTLING:])
        self._times = []
        if self._before is None:
            pays = EXPECTED_SAVING * typical * left > COMPILE_SECONDS
            self._before = typical
            self._evaluator.compile(pays)
            self._open = pays
        else:
            self._evaluator.compile(typical < self._before)
            self._open = False
