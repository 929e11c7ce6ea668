"""Whether chains differ by more than chance: r-hat's F statistic, with a limit that chance sets.

R-hat is a function of the ratio of the variance between chains to that within them. Its null
distribution is known where draws are independent: an F distribution. Of correlated draws it is that
of the means of batches of consecutive draws, if these are long enough to be nearly independent; if
they are not, the chains are too short for what is asked of them, and the ratio says so.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import betainc, betaincinv
from torch import Tensor

from .convergence import CHUNK, normal_scores

FEWEST_SPLIT = 20
"""Draws of a chain from which on its halves are compared too: a trend shows in them."""

FEWEST_RANKED = 40
"""Draws from which on ranks are compared. Of fewer, no order of them is improbable enough."""

BATCHES = 5
"""Batches in each half, or so many more if they can be ``LONG`` draws each."""

LONG = 100

ROUNDING = 1e-6
"""Standard deviation, relative to the size of the values, below which they do not differ."""


def between_chains(draws: Float[Tensor, "c s *v"]) -> Float[Tensor, "*v"]:
    """Return the ratio of the variance between chains to that within them, of batch means.

    Parameters
    ----------
    draws : Tensor, (chains, draws, ...)
        At least 4 draws, finite.

    Returns
    -------
    Tensor, (...)
        One on average where the chains agree; of many draws the larger of that of their normal
        scores and of those of their distances from the median, as in r-hat. NaN where draws differ
        by rounding alone, or where there is nothing to compare.

    References
    ----------
    Gelman & Rubin, "Inference from iterative simulation using multiple sequences" (1992), section
    2; Flegal & Jones, "Batch means and spectral variance estimators in Markov chain Monte Carlo"
    (2010), for the batches.
    """
    chains, num_draws = draws.shape[:2]
    segments, batches, length = _cut(chains, num_draws)
    if segments < 2:
        return torch.full(draws.shape[2:], torch.nan, dtype=torch.float64, device=draws.device)
    parts = segments // chains
    found = []
    for part in draws.reshape(chains, num_draws, -1).split(
        max(CHUNK // (chains * num_draws), 1), 2
    ):
        values = part.permute(2, 0, 1).double().contiguous()
        if num_draws < FEWEST_RANKED:
            kinds = [values]
        else:
            median = values.flatten(1).median(1).values[:, None, None]
            kinds = [normal_scores(values), normal_scores((values - median).abs())]
        ratios = []
        for kind in kinds:
            # What does not fill a batch is left out at the beginning of each part.
            halves = kind.unfold(2, num_draws // parts, num_draws - num_draws // parts or 1)
            means = halves[..., -batches * length :].unflatten(-1, (batches, length)).mean(-1)
            means = means.flatten(1, 2)
            ratios.append(batches * means.mean(2).var(1) / means.var(2).mean(1))
        ratio = torch.stack(ratios).amax(0)
        size = values.square().mean((1, 2)).sqrt()
        same = values.flatten(1).std(1) <= ROUNDING * size
        found.append(torch.where(same, torch.nan, ratio))
    return torch.cat(found).reshape(draws.shape[2:])


def limit_between_chains(chains: int, num_draws: int, num_values: int, chance: float) -> float:
    """Return what the largest of ``num_values`` such ratios exceeds with at most this chance.

    By Bonferroni's inequality, whatever the dependence between the values.
    """
    segments, batches, _ = _cut(chains, num_draws)
    if segments < 2:
        return float("inf")
    kinds = 1 if num_draws < FEWEST_RANKED else 2
    between, within = segments - 1, segments * (batches - 1)
    # The upper quantile of F by the incomplete beta function, whose lower tail loses no digits.
    share = float(betaincinv(within / 2, between / 2, chance / (kinds * max(num_values, 1))))
    return within / between * (1 / share - 1)


def most_by_chance(trials: int, share: float, chance: float) -> int:
    """Return how many of some trials, each a hit with this chance, are exceeded with less."""
    hits = np.arange(trials + 1)
    # P(at least k + 1 hits), an incomplete beta function.
    beyond = betainc(hits[:-1] + 1, trials - hits[:-1], share)
    return int(np.argmax(np.append(beyond, 0.0) < chance))


def _cut(chains: int, num_draws: int) -> tuple[int, int, int]:
    """Return the number of parts that are compared, of batches in each, and their length."""
    if num_draws < FEWEST_SPLIT:
        return chains, num_draws, 1
    half = num_draws // 2
    batches = 2 * BATCHES if half >= 2 * BATCHES * LONG else BATCHES
    return 2 * chains, batches, half // batches
