"""Which cells are held out: single ones, or gaps like those that there are."""

import pytest
import torch
from torch import Tensor

from explainaway.inference.runs.held_out_choice import chosen_cells, gaps_hang_together


def _uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _holes(n: int, side: int, hole: int, channels: int = 1) -> Tensor:
    """Return which pixels are observed around a square hole at a random place."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(side - hole + 1, (n, 2), generator=generator)[..., None]
    places = torch.arange(side)
    within = (places >= corner) & (places < corner + hole)
    hidden = within[:, 0, :, None] & within[:, 1, None, :]
    return ~hidden[:, None].expand(n, channels, side, side)


def _blocks(n: int, side: int, share: float) -> Tensor:
    centres = (_uniform(n, 1, side, side) < share).float()
    return torch.nn.functional.max_pool2d(centres, 3, 1, 1) < 0.5


@pytest.mark.parametrize("shape", [(30, 8), (100, 30), (500, 12, 4), (60, 3, 8, 8)])
def test_independent_gaps_do_not_hang_together(shape: tuple[int, ...]) -> None:
    """Whatever share of a cell is missing: 40 sets, each by six standard deviations."""
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        shares = 0.1 + 0.8 * torch.rand(shape[1:], generator=generator)
        observed = torch.rand(shape, generator=generator) < shares
        assert not gaps_hang_together(observed, seed)


@pytest.mark.parametrize(
    "observed",
    [
        _holes(100, 16, 6),
        _blocks(100, 32, 0.1),
        _uniform(200, 1, 8, 8).expand(200, 3, 8, 8) < 0.5,
        torch.arange(12) < 4 + 9 * _uniform(200, 1),
        _uniform(200, 6) < 0.3 + 0.6 * (torch.arange(200) % 2)[:, None],
    ],
    ids=["hole", "small blocks", "all channels", "ends of sequences", "some rows have more"],
)
def test_gaps_that_hang_together_are_seen(observed: Tensor) -> None:
    assert all(gaps_hang_together(observed, seed) for seed in range(5))


def test_what_is_held_out_of_images_with_holes_are_holes() -> None:
    observed = _holes(300, 16, 6, channels=3)
    held = chosen_cells(observed, 0.02, 0, None)
    assert not bool((held & ~observed).any())
    with_gap = held.flatten(1).any(1).nonzero()[:, 0]
    assert 50 <= len(with_gap) <= 60
    gaps = ~observed
    for place in with_gap:
        # Another one's hole, as far as it was observed here.
        same = (gaps & observed[place]) == held[place]
        assert bool(same.flatten(1).all(1).any())
    total = int(held.sum())
    assert 0.02 * int(observed.sum()) <= total < 0.05 * int(observed.sum())


def test_no_example_loses_more_than_half_of_what_it_shows() -> None:
    """Half of the pixels are hidden by blocks of 3x3: what several examples lack is taken."""
    observed = _blocks(300, 32, 0.12)
    held = chosen_cells(observed, 0.02, 0, None)
    with_gap = held.flatten(1).any(1)
    shares = held.flatten(1).sum(1) / observed.flatten(1).sum(1)
    assert 50 <= int(with_gap.sum()) <= 60
    assert float(shares[with_gap].mean()) > 0.1
    assert float(shares.max()) <= 0.5


def test_channels_that_lack_together_are_held_out_together() -> None:
    observed = _uniform(300, 1, 8, 8).expand(300, 3, 8, 8) < 0.4
    held = chosen_cells(observed, 0.03, 0, None)
    assert bool(held.any())
    assert torch.equal(held, held[:, :1].expand_as(held))


def test_the_choice_belongs_to_the_numbers_of_the_examples() -> None:
    observed, order = _holes(300, 16, 6), torch.randperm(300)
    held = chosen_cells(observed, 0.02, 0, torch.arange(300))
    assert torch.equal(chosen_cells(observed[order], 0.02, 0, order), held[order])
    assert not torch.equal(chosen_cells(observed, 0.02, 1, None), held)


def test_single_cells_are_held_out_where_no_example_can_lack_more() -> None:
    """Some lack one half, the others the other: a further gap is all that an example shows."""
    half = torch.arange(20) < 10
    observed = torch.where((torch.arange(400) % 2 == 0)[:, None], half, ~half)
    assert gaps_hang_together(observed, 0)
    held = chosen_cells(observed, 0.1, 0, None)
    number = int(observed.sum())
    assert abs(int(held.sum()) - 0.1 * number) < 6 * (0.09 * number) ** 0.5
    assert bool((observed & ~held).any(1).all())


def test_single_cells_are_held_out_where_few_examples_are() -> None:
    """Of 200 a fifth is too few to tell a gain by."""
    observed = _holes(200, 16, 6)
    held = chosen_cells(observed, 0.02, 0, None)
    assert int(held.flatten(1).any(1).sum()) > 150
