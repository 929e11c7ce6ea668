"""Convergence statistics of many variables at once: r-hat, effective sample size, nested r-hat.

ArviZ computes the same one variable at a time, which takes minutes for a thousand examples; the
tests hold these against its values.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 2_000_000
"""Draws that are worked on at once, which bounds memory."""


def rhat_and_ess(draws: Float[Tensor, "c s *v"]) -> tuple[Float[Tensor, "*v"], Float[Tensor, "*v"]]:
    """Return rank-normalised split r-hat and bulk effective sample size of every variable.

    Parameters
    ----------
    draws : Tensor, (chains, draws, ...)
        At least 4 draws, finite. R-hat is NaN for a single chain's constant half.

    Returns
    -------
    rhat : Tensor, (...)
        The larger of bulk and tail r-hat, in double precision.
    ess : Tensor, (...)
        At most ``chains * draws * log10(chains * draws)``.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter & Bürkner, "Rank-normalization, folding, and localization:
    an improved R-hat" (2021), sections 3 and 4.
    """
    chains, num_draws = draws.shape[:2]
    half = num_draws // 2
    variables = draws.reshape(chains, num_draws, -1)
    found = []
    for part in variables.split(max(CHUNK // (chains * num_draws), 1), dim=2):
        # (variables, chains, draws): ranks are of neighbours in memory. A draw in the middle of an
        # odd number belongs to neither half.
        halves = torch.cat([part[:, :half], part[:, num_draws - half :]])
        halves = halves.permute(2, 0, 1).double().contiguous()
        ordered = halves.flatten(1).sort(dim=1).values
        count = ordered.shape[1]
        # Not by quantile(): the two in the middle must be equally far from it, to the last bit.
        median = ((ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2)[:, None, None]
        scores = normal_scores(halves)
        tail = _rhat(normal_scores((halves - median).abs()))
        found.append(torch.stack([torch.maximum(_rhat(scores), tail), _ess(scores)]))
    rhat, ess = torch.cat(found, 1)
    return rhat.reshape(draws.shape[2:]), ess.reshape(draws.shape[2:])


def split_rhat(draws: Float[Tensor, "c s *v"]) -> Float[Tensor, "*v"]:
    """Return split r-hat without ranks: quick, for a progress bar.

    References
    ----------
    Gelman et al., "Bayesian Data Analysis" (3rd edition, 2013), section 11.4.
    """
    half = draws.shape[1] // 2
    halves = torch.cat([draws[:, :half], draws[:, draws.shape[1] - half :]])
    return _rhat(halves.movedim((0, 1), (-2, -1)))


def _rhat(draws: Float[Tensor, "*v c s"]) -> Float[Tensor, "*v"]:
    num_draws = draws.shape[-1]
    within = draws.var(-1).mean(-1)
    between = draws.mean(-1).var(-1)
    return ((num_draws - 1) / num_draws + between / within).sqrt()


def normal_scores(draws: Float[Tensor, "v c s"]) -> Float[Tensor, "v c s"]:
    """Return the normal quantile of each draw's rank among all chains', ties averaged."""
    flat = draws.flatten(1)
    count = flat.shape[1]
    ordered, order = flat.sort(dim=1)
    place = torch.arange(1, count + 1, dtype=flat.dtype, device=flat.device).expand_as(flat)
    if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        first = torch.searchsorted(ordered, ordered)
        last = torch.searchsorted(ordered, ordered, right=True)
        place = (first + 1 + last).to(flat.dtype) / 2
    share = (place - 0.375) / (count + 0.25)
    scores = math.sqrt(2.0) * torch.erfinv(2 * share - 1)
    return torch.empty_like(flat).scatter_(1, order, scores).reshape(draws.shape)


def _ess(draws: Float[Tensor, "v c s"]) -> Float[Tensor, " v"]:
    """Return the effective sample size by Geyer's initial monotone sequence over all chains."""
    chains, num_draws = draws.shape[1:]
    covariance = _autocovariance(draws)
    variance = covariance[:, 0] * num_draws / (num_draws - 1)
    pooled = covariance[:, 0]
    if chains > 1:
        pooled = pooled + draws.mean(2).var(1)
    rho = 1 - (variance[:, None] - covariance) / pooled[:, None]
    rho[:, 0] = 1.0
    # Pairs of lags (2k, 2k + 1); the first whose sum is not positive ends the sequence, or the last
    # one does.
    num_pairs = max((num_draws - 3) // 2, 0) + 1
    pairs = rho[:, 0 : 2 * num_pairs : 2] + rho[:, 1 : 2 * num_pairs : 2]
    ends = pairs <= 0
    ends[:, -1] = True
    end = ends.int().argmax(1, keepdim=True)
    inside = torch.arange(num_pairs, device=draws.device) < end
    monotone = pairs.cummin(1).values
    even, pair = rho.gather(1, 2 * end)[:, 0], pairs.gather(1, end)[:, 0]
    last = torch.where((even > 0) | (pair >= 0), even, 0.0)
    tau = -1 + 2 * torch.where(inside, monotone, 0.0).sum(1) + last
    count = chains * num_draws
    return count / tau.clamp(min=1 / math.log10(count))


def _autocovariance(draws: Float[Tensor, "v c s"]) -> Float[Tensor, "v s"]:
    """Return the chains' mean autocovariance at each lag."""
    num_draws = draws.shape[2]
    size = 1 << (2 * num_draws - 1).bit_length()
    spectrum = torch.fft.rfft(draws - draws.mean(2, keepdim=True), size)
    power = (spectrum.real**2 + spectrum.imag**2).mean(1)
    covariance: Tensor = torch.fft.irfft(power, size)[:, :num_draws] / num_draws
    return covariance


def nested_rhat(draws: Float[Tensor, "c s *v"], num_superchains: int) -> Float[Tensor, "*v"]:
    """Return nested r-hat: convergence of many short chains, down to one draw each.

    Parameters
    ----------
    draws : Tensor, (chains, draws, ...)
        Chains in order of their superchains: those of one superchain start at one point.
    num_superchains : int
        How many; divides the number of chains.

    Raises
    ------
    ValueError
        If it is below 2 or does not divide the chains, or if a superchain holds a single draw.

    References
    ----------
    Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari & Gelman, "Nested R-hat: assessing the
    convergence of Markov chain Monte Carlo when running many short chains" (arXiv 2110.13017),
    section 2.
    """
    chains, num_draws = draws.shape[:2]
    if num_superchains < 2 or chains % num_superchains:
        raise ValueError(
            f"num_superchains must be at least 2 and divide the {chains} chains, got "
            f"{num_superchains}"
        )
    groups = draws.reshape(num_superchains, chains // num_superchains, *draws.shape[1:])
    if groups.shape[1] * num_draws < 2:
        raise ValueError(
            "a superchain of one chain with one draw has no variance: give at least two chains for "
            "each superchain, or two draws"
        )
    means = groups.mean(2)
    within = torch.zeros_like(means[:, 0])
    if groups.shape[1] > 1:
        within = within + means.var(1)
    if num_draws > 1:
        within = within + groups.var(2).mean(1)
    between = means.mean(1).var(0)
    return (1 + between / within.mean(0)).sqrt()
