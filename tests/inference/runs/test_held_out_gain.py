"""Whether held-out cells are still better explained: seen where it is so, not where it is not."""

import torch
from torch import Tensor

from explainaway.inference.runs.held_out_gain import HeldOutGain
from explainaway.inference.runs.held_out_score import HeldOutScore

CELLS = 200


def _score(nats: Tensor) -> HeldOutScore:
    return HeldOutScore(nats, torch.ones(CELLS).double(), torch.arange(CELLS))


def _windows(slope: float, number: int) -> list[HeldOutScore]:
    """Return scores of cells that differ much, draw by draw by .3, all falling by a slope."""
    cells = torch.randn(CELLS).double()
    return [_score(cells - slope * k + 0.3 * torch.randn(CELLS)) for k in range(number)]


def test_where_nothing_changes_no_gain_is_seen() -> None:
    """A comparison in six sees a gain by chance: of 100 runs with four each some 48 see none.

    Within four standard deviations; comparisons that share a span are not independent, a little.
    """
    quiet = 0
    for _ in range(100):
        gain = HeldOutGain()
        for score in _windows(0.0, 21):
            gain.add(score)
        quiet += gain.quiet >= 4
    assert abs(quiet - 48) < 20


def test_a_small_gain_of_all_cells_is_seen() -> None:
    """.02 nats a window where one window's error is .02 and cells differ by 1."""
    for _ in range(20):
        gain = HeldOutGain()
        for score in _windows(0.02, 32):
            gain.add(score)
        assert gain.quiet == 0


def test_a_gain_that_ends_is_quiet_soon() -> None:
    gain = HeldOutGain()
    falling = _windows(0.1, 14)
    for score in falling:
        gain.add(score)
    assert gain.quiet == 0
    # The next span, 14 to 21, is still better than the one before it; those after it are not.
    at_rest = falling[-1].nats
    for _ in range(14, 48):
        gain.add(_score(at_rest))
    assert gain.quiet == 2


def test_taken_back_it_goes_on_as_it_was() -> None:
    scores = _windows(0.01, 40)
    whole, first, second = HeldOutGain(), HeldOutGain(), HeldOutGain()
    for k, score in enumerate(scores):
        whole.add(score)
        (first if k < 17 else second).add(score)
        if k == 16:
            second.take_back(first.to_dict())
    assert whole.quiet == second.quiet
    assert whole.mean is not None
    assert second.mean is not None
    assert torch.equal(whole.mean, second.mean)
