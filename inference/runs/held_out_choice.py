"""Which observed cells are held out: single ones, or where gaps hang together, further gaps."""

import math

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ..noise.keyed import KeyedSource

NUM_PAIRS = 128
"""Pairs of cells, along each dimension and at random, by which gaps are told to hang together."""

STANDARD_DEVIATIONS = 6.0
"""By how many of them squared correlations must be larger than those of independent gaps."""

MOST_TESTED = 4096
"""Examples whose gaps are looked at."""

FEWEST = 5
"""Examples that must see a cell, and that must not, for it to be in a pair."""

MOST_HIDDEN = 0.5
"""Share of an example's observed cells that a further gap may hide."""

MOST_OTHERS = 8
"""Examples whose common gap it is, where that of one would hide more."""

ENOUGH_EXAMPLES, MOST_EXAMPLES = 50, 0.2
"""Examples that must have a further gap, share of all that may: cells of an example err together,
and by twenty examples (of a hundred and fifty sequences) no gain was seen where there was one."""


def chosen_cells(
    observed: Bool[Tensor, "n ..."], share: float, seed: int, ids: Tensor | None
) -> Bool[Tensor, "n ..."]:
    """Return the cells to hold out, about a share of those that are observed.

    A pixel between pixels that are seen is easy, a hole is not: what single cells say of a network
    is not what it makes of holes. Where gaps hang together, some examples therefore get a further
    gap, that of another example, or where this would hide more than half of what is seen, what
    several others have in common. Where too few examples can have one it is single cells all the
    same.

    Parameters
    ----------
    observed : bool Tensor, (n, ...)
        Which cells are.
    share : float
        Of them.
    seed : int
        Of the choice.
    ids : int64 Tensor, (n,), optional
        The examples' numbers, by default their places. In another order the same cells are chosen.
    """
    ids = torch.arange(len(observed), device=observed.device) if ids is None else ids
    order = _shuffled(ids, seed)
    if gaps_hang_together(observed[order[:MOST_TESTED]], seed):
        held = _further_gaps(observed, share, order)
        if held is not None:
            return held
    return _single_cells(observed, share, seed, ids)


def gaps_hang_together(observed: Bool[Tensor, "n ..."], seed: int) -> bool:
    """Return whether gaps of neighbours, or of any two cells, are correlated over examples."""
    shape = observed.shape[1:]
    flat = observed.flatten(1)
    size = flat.shape[1]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(size, (NUM_PAIRS,), generator=generator)
    partners = [torch.randint(size, (NUM_PAIRS,), generator=generator)]
    stride = size
    for length in shape:
        stride //= length
        is_last = chosen // stride % length == length - 1
        partners.append((chosen + torch.where(is_last, -stride, stride)).clamp(0, size - 1))
    return any(
        _are_correlated(flat, chosen.to(flat.device), other.to(flat.device)) for other in partners
    )


def _are_correlated(flat: Tensor, first: Tensor, second: Tensor) -> bool:
    """Return whether squared correlations are larger than by chance, times n one in the mean."""
    n, size = flat.shape
    different = (first.minimum(second) * size + first.maximum(second))[first != second].unique()
    pairs = [flat[:, cells].double() for cells in (different // size, different % size)]
    counts = [one.sum(0) for one in pairs]
    usable = torch.ones_like(different, dtype=torch.bool)
    for seen in counts:
        usable &= (seen >= FEWEST) & (n - seen >= FEWEST)
    number = int(usable.sum())
    if number == 0:
        return False
    apart = [one - one.mean(0) for one in pairs]
    covariance = (apart[0] * apart[1]).mean(0)
    variance = apart[0].square().mean(0) * apart[1].square().mean(0)
    found = float((n * covariance.square() / variance)[usable].mean())
    # Chi-squared with one degree of freedom has variance 2.
    return found > 1 + STANDARD_DEVIATIONS * math.sqrt(2 / number)


def _shuffled(ids: Int64[Tensor, " n"], seed: int) -> Int64[Tensor, " n"]:
    """Return places in an order that belongs to the numbers, wherever these are."""
    # Chain -1: no chain has its stream. Two uniform numbers of 24 bits, so that none are equal.
    drawn = KeyedSource(seed, ids, torch.full_like(ids, -1)).at(1).uniform(2, torch.float64)
    return (drawn[:, 0] + drawn[:, 1] * 2.0**-24).argsort()


def _further_gaps(
    observed: Bool[Tensor, "n ..."], share: float, order: Int64[Tensor, " n"]
) -> Tensor | None:
    n, size = len(observed), observed[0].numel()
    wanted, most = share * float(observed.sum()), int(MOST_EXAMPLES * n)
    held = torch.zeros_like(observed)
    found, count = 0, 0
    for part in torch.arange(n, device=observed.device).split(max(1, 2**22 // size)):
        one = order[part]
        gap = observed[one]
        allowed = MOST_HIDDEN * gap.flatten(1).sum(1)
        for further in range(1, 1 + MOST_OTHERS):
            large = gap.flatten(1).sum(1) > allowed
            if not bool(large.any()):
                break
            gap[large] &= ~observed[order[(part[large] + further) % n]]
        sizes = gap.flatten(1).sum(1)
        can = (sizes > 0) & (sizes <= allowed)
        sizes = sizes * can
        before, number = found + sizes.cumsum(0) - sizes, count + can.cumsum(0)
        taken = can & (number <= most) & ((before < wanted) | (number <= ENOUGH_EXAMPLES))
        held[one[taken]] = gap[taken]
        found, count = found + int(sizes[taken].sum()), count + int(taken.sum())
        if not bool(taken[can].all()):
            break
    return held if count >= ENOUGH_EXAMPLES and found >= wanted / 2 else None


def _single_cells(observed: Tensor, share: float, seed: int, ids: Int64[Tensor, " n"]) -> Tensor:
    n, size = len(observed), observed[0].numel()
    held = torch.zeros_like(observed)
    for part in torch.arange(n, device=observed.device).split(max(1, 2**22 // size)):
        source = KeyedSource(seed, ids[part], torch.full_like(part, -1))
        drawn = source.at(0).uniform(size, torch.float32).reshape(observed[part].shape) < share
        held[part] = drawn & observed[part]
    # An example keeps at least one cell to learn from.
    left = (observed & ~held).flatten(1).any(1)
    return held & left.reshape(-1, *[1] * (held.dim() - 1))
