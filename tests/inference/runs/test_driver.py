"""The loop of all long work, on work that does nothing."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from explainaway.inference.runs.driver import drive
from explainaway.inference.speed import CapturingEvaluator
from explainaway.inference.speed.compile_choice import CompileChoice


class _Told(CompileChoice):
    def __init__(self) -> None:
        super().__init__(False, CapturingEvaluator(lambda: None))
        self.left: list[int] = []

    def after_iteration(self, seconds: float, left: int) -> None:
        self.left.append(left)


@dataclass
class _Counting:
    num_iterations: int = 5
    num_made: int = 0
    stops_at: int | None = None
    at: Callable[[int], object] = lambda number: None
    concluded: int = 0
    saved: list[int] = field(default_factory=list)
    compile_choice: _Told = field(default_factory=_Told)
    unit: str = "stroke"
    cut_to: int | None = None

    @property
    def is_over(self) -> bool:
        return self.num_made in (self.num_iterations, self.stops_at)

    def advance(self) -> None:
        self.num_made += 1
        self.at(self.num_made)

    def conclude(self, seconds: float) -> None:
        assert seconds >= 0
        self.concluded += 1

    def save(self, path: Path) -> None:
        assert path == Path("somewhere")
        assert self.concluded == self.num_made
        self.saved.append(self.num_made)

    def stage(self) -> str:
        return f"counting from {self.num_made}"

    def numbers(self) -> dict[str, str]:
        return {"made": str(self.num_made)}

    def cut_short(self) -> bool:
        if self.cut_to is None:
            return False
        self.num_iterations = self.cut_to
        return True

    def how_to_go_on(self, checkpoint: Path | None) -> str:
        return f"stopped at {self.num_made}, kept in {checkpoint}"


def _interrupt_at(number: int) -> Callable[[int], None]:
    def at(made: int) -> None:
        if made == number:
            signal.raise_signal(signal.SIGINT)

    return at


def test_work_is_carried_to_its_end_and_saved_there() -> None:
    work = _Counting()
    drive(work, Path("somewhere"), 60.0, show_progress=False)
    assert work.num_made == work.concluded == 5
    assert work.compile_choice.left == [4, 3, 2, 1, 0]
    assert work.saved == [5]


def test_it_is_saved_when_it_is_due() -> None:
    work = _Counting()
    drive(work, Path("somewhere"), 0.0, show_progress=False)
    assert work.saved == [1, 2, 3, 4, 5]


def test_work_that_is_over_is_left_alone() -> None:
    work = _Counting(num_made=5)
    drive(work, Path("somewhere"), 0.0, show_progress=False)
    assert work.saved == []
    early = _Counting(stops_at=2)
    drive(early, Path("somewhere"), 60.0, show_progress=False)
    assert early.saved == [2]


def test_ctrl_c_waits_for_the_iteration_and_for_the_checkpoint() -> None:
    work = _Counting(at=_interrupt_at(3))
    with pytest.raises(KeyboardInterrupt, match="stopped at 3, kept in somewhere"):
        drive(work, Path("somewhere"), 60.0, show_progress=False)
    assert work.concluded == 3
    assert work.saved == [3]
    work.at = lambda number: None
    drive(work, Path("somewhere"), 60.0, show_progress=False)
    assert work.saved == [3, 5]


def test_ctrl_c_while_it_is_decided_whether_to_save_is_saved_with_the_next_iteration() -> None:
    class Interrupted(_Counting):
        @property
        def is_over(self) -> bool:
            if self.concluded == 3 and not asked:
                asked.append(True)
                signal.raise_signal(signal.SIGINT)
            return super().is_over

    asked: list[bool] = []
    work = Interrupted()
    with pytest.raises(KeyboardInterrupt, match="stopped at 4, kept in somewhere"):
        drive(work, Path("somewhere"), 60.0, show_progress=False)
    assert work.saved == [4]


def test_ctrl_c_in_the_last_iteration_stops_nothing() -> None:
    work = _Counting(at=_interrupt_at(5))
    drive(work, None, 60.0, show_progress=False)
    assert work.num_made == 5


def test_without_a_checkpoint_ctrl_c_says_so() -> None:
    with pytest.raises(KeyboardInterrupt, match="stopped at 1, kept in None"):
        drive(_Counting(at=_interrupt_at(1)), None, 60.0, show_progress=False)


def test_ctrl_c_lets_work_end_that_can_be_cut_short() -> None:
    work = _Counting(at=_interrupt_at(2), cut_to=4)
    drive(work, None, 60.0, show_progress=False)
    assert work.num_made == work.concluded == 4
    kept = _Counting(at=_interrupt_at(2), cut_to=4)
    with pytest.raises(KeyboardInterrupt):
        drive(kept, Path("somewhere"), 60.0, show_progress=False)
    assert kept.saved == [2]


def test_ctrl_c_does_not_wait_for_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explainaway.inference.runs.interrupt.is_compiling", lambda: True)
    work = _Counting(at=_interrupt_at(2))
    with pytest.raises(KeyboardInterrupt, match="while compiling"):
        drive(work, None, 60.0, show_progress=False)
    assert work.concluded == 1


def test_a_second_ctrl_c_does_not_wait() -> None:
    def twice(made: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    work = _Counting(at=twice)
    with pytest.raises(KeyboardInterrupt):
        drive(work, None, 60.0, show_progress=False)
    assert work.concluded == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_the_bar_shows_stage_numbers_and_where_it_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    drive(_Counting(num_made=2), None, 60.0, show_progress=True)
    shown = capsys.readouterr().err
    assert "counting from 2:  40%" in shown
    assert "counting from 5: 100%" in shown
    assert "5/5" in shown
    assert "made=5" in shown
    drive(_Counting(), None, 60.0, show_progress=False)
    assert capsys.readouterr().err == ""
