"""Convergence of many short posteriors at once; chains that cannot be trusted named apart."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from .described import as_html, counted
from .disagreement import FEWEST_RANKED, most_by_chance
from .excess_energy import FAR, excess_energy
from .standstill import frozen_chains
from .statistics import FEWEST, Read, statistics_of, statistics_read

CHANCE = 1e-3
"""Of one false alarm by r-hat among all examples and variables, and of one by chains at rest."""

LARGEST_RHAT = 1.01
"""As Vehtari et al. advise: more than chance, but less than this, does not matter."""

DIVERGING = 0.002
"""Share of an example's proposals that may diverge without a word where its chains mix well.

A proposal that diverges is rejected, which is exact. What is to be feared is a part of the
posterior that no chain enters: it shows in r-hat and ESS of latents and energy, or in how many
diverge. Eight schools, not centred, have 0.1 to 0.2 % in runs without a bias; centred, with one,
they have 0.2 to 13 %, an r-hat up to 1.4 and an ESS of 8 to 162.
"""

SMALLEST_ESS = 100
"""For each chain, as ArviZ and Stan advise, where enough draws were asked for."""

SMALLEST_SHARE = 1 / 50
"""Effective draws among those that were asked for, where these are fewer."""


class WorstExample(NamedTuple):
    """One example's diagnostics: the worst over what is judged and its energy."""

    example: int
    rhat: float
    ess: float
    num_diverging: int


class Judged(NamedTuple):
    """What the verdict is made on: the worst of each example, its energy included.

    Attributes
    ----------
    what : str
        Its name in sentences: ``"latents"``, ``"constrained latents"`` or ``"signals"``.
    rhat, ess : array, (n,)
        As those of the summary.
    disagreement : array, (n,)
        Variance between chains over that within them, as a share of what chance explains among so
        many examples and variables: above one, the chains differ.
    """

    what: str
    rhat: NDArray[np.float64]
    ess: NDArray[np.float64]
    disagreement: NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Diagnostics of each example and unconstrained component.

    Attributes
    ----------
    rhat : array, (n, d)
        Rank-normalised split r-hat over the chains that move, NaN where fewer than two are left.
    ess : array, (n, d)
        Bulk effective sample size of the same chains, NaN where none is left.
    rhat_lp, ess_lp : array, (n,)
        The same of ``lp``: a chain that only mirrors itself mixes in z and not in its energy. NaN
        where no ``lp`` was given.
    num_diverging : array, (n,)
        Divergent proposals.
    num_chains, num_draws : int
        What was looked at.
    frozen : list of (example, chain)
        Chains that never moved, though they had the chance. ArviZ gives them the full sample size.
    copied : list of (example, chain, chain)
        Pairs of chains with the same draws.
    not_finite : list of (example, chain)
        Chains with a NaN or an infinity.
    judged : Judged
        What the verdict is made on: what a user reads where the model offers it, such as decoded
        signals. Latents that a network can rotate need not agree between chains for it.
    latents_differ : list of int
        Examples whose latents differ between chains, though what is judged agrees.
    excess : array, (n,)
        Mean energy above that of the median example, in spreads between examples; NaN of fewer than
        20 examples, and where no ``lp`` was given.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter & Bürkner, "Rank-normalization, folding, and localization"
    (2021).
    """

    rhat: NDArray[np.float64]
    ess: NDArray[np.float64]
    rhat_lp: NDArray[np.float64]
    ess_lp: NDArray[np.float64]
    num_diverging: NDArray[np.int64]
    num_chains: int
    num_draws: int
    frozen: list[tuple[int, int]]
    copied: list[tuple[int, int, int]]
    not_finite: list[tuple[int, int]]
    judged: Judged
    latents_differ: list[int]
    excess: NDArray[np.float64]

    @property
    def differing(self) -> NDArray[np.bool_]:
        """Whether each example's chains differ by more than chance, (n,)."""
        # A single chain has no r-hat, and ranks of few draws cannot tell.
        irrelevant = (self.judged.rhat <= LARGEST_RHAT) & (self.num_draws >= FEWEST_RANKED)
        return (self.judged.disagreement > 1) & ~irrelevant

    @property
    def diverging_often(self) -> NDArray[np.bool_]:
        """Whether more of each example's proposals diverged than are usual, (n,).

        Than a small share and chance, or any where its chains do not mix.
        """
        total = self.num_chains * self.num_draws
        most = most_by_chance(total, DIVERGING, CHANCE / len(self.num_diverging))
        poor = self.differing | self.too_few
        often: NDArray[np.bool_] = (self.num_diverging > most) | ((self.num_diverging > 0) & poor)
        return often

    @property
    def least_ess(self) -> float:
        """What each example's effective sample size is held against, of all chains."""
        return self.num_chains * min(float(SMALLEST_ESS), SMALLEST_SHARE * self.num_draws)

    @property
    def too_few(self) -> NDArray[np.bool_]:
        """Whether each example has fewer effective draws than :attr:`least_ess`, (n,)."""
        few: NDArray[np.bool_] = self.judged.ess < self.least_ess
        return few

    @property
    def unexplained(self) -> NDArray[np.bool_]:
        """Whether the model explains each example far worse than the others, (n,)."""
        far: NDArray[np.bool_] = self.excess > FAR
        return far

    @property
    def untrusted(self) -> list[int]:
        """Examples that :meth:`problems` is about."""
        chains = [*self.frozen, *self.copied, *self.not_finite]
        flags = self.differing | self.too_few | self.diverging_often | self.unexplained
        for example, *_ in chains:
            flags[example] = True
        return [int(example) for example in np.flatnonzero(flags)]

    @property
    def worst_rhat(self) -> float:
        """Largest r-hat over examples and components, of the chains that move."""
        return float(np.nanmax(self.rhat)) if np.isfinite(self.rhat).any() else float("nan")

    @property
    def smallest_ess(self) -> float:
        """Smallest effective sample size over examples and components."""
        return float(np.nanmin(self.ess)) if np.isfinite(self.ess).any() else float("nan")

    def worst(self, count: int = 10) -> list[WorstExample]:
        """Return the examples that have mixed least: by r-hat of what is judged and the energy."""
        rhat, ess = self.judged.rhat, self.judged.ess
        # An example without any r-hat is worse than all others.
        order = np.argsort(-np.where(np.isnan(rhat), np.inf, rhat), kind="stable")[:count]
        return [
            WorstExample(int(i), float(rhat[i]), float(ess[i]), int(self.num_diverging[i]))
            for i in order
        ]

    def problems(self) -> list[str]:
        """Return a sentence for each thing that is wrong, with its remedy; none if all is well.

        Every sentence names examples, the worst first, by rules that well-mixed chains break in at
        most one run of a hundred, however many examples there are and however few draws.
        """
        found = []
        for one, several, chains in (
            ("never moved", "never moved", self.frozen),
            ("is a copy of another", "are copies of another", self.copied),
            ("holds NaN or infinity", "hold NaN or infinity", self.not_finite),
        ):
            if chains:
                what, left = (one, "it is") if len(chains) == 1 else (several, "they are")
                found.append(
                    f"{counted(len(chains), 'chain')} {what}, (example, chain) {chains[:5]}: "
                    f"{left} left out of r-hat and ESS; look at the example's data and step size"
                )
        n = counted(len(self.num_diverging), "example")
        often = self.diverging_often
        if often.any():
            first = _first_of(often, -self.num_diverging.astype(np.float64))
            found.append(
                f"{counted(int(self.num_diverging.sum()), 'proposal')} diverged, in "
                f"{int(often.sum())} of {n} too often, {first} "
                f"({int(self.num_diverging[first[0]])} in example {first[0]}): "
                "warm up longer, or raise the kernel's target_acceptance"
            )
        differing = self.differing
        if differing.any():
            first = _first_of(differing, -self.judged.disagreement)
            found.append(
                f"r-hat is above what chance explains in {int(differing.sum())} of {n}, "
                f"{first} (of {self.judged.what} or the energy; {self.judged.rhat[first[0]]:.3f} in"
                f" example {first[0]}): more warmup and draws (extend), or, if chains sit in "
                "different modes, ParallelTempering"
            )
        low = self.too_few
        if low.any():
            first = _first_of(low, self.judged.ess)
            found.append(
                f"ESS is below {self.least_ess / self.num_chains:.3g} a chain in {int(low.sum())} "
                f"of {n}, {first} (of {self.judged.what} or the energy; "
                f"{self.judged.ess[first[0]]:.0f} in example {first[0]}): more draws"
            )
        unexplained = self.unexplained
        if unexplained.any():
            first = _first_of(unexplained, -self.excess)
            found.append(
                f"the energy is over {FAR:.0f} spreads above that of the other examples in "
                f"{int(unexplained.sum())} of {n}, {first}: look for mistakes in their data; where "
                "all chains of an example stand in one wrong place they agree all the same"
            )
        return found

    def to_frame(self) -> Any:
        """Return a pandas data frame: a row for each example and component, and for its energy.

        Its index is (example, component), the energy's component being ``"lp"``; its columns are
        ``rhat``, ``ess`` and ``num_diverging``, which is of the example.
        """
        import pandas as pd

        n, d = self.rhat.shape
        names = ("example", "component")
        return pd.DataFrame(
            {
                "rhat": np.column_stack([self.rhat, self.rhat_lp]).ravel(),
                "ess": np.column_stack([self.ess, self.ess_lp]).ravel(),
                "num_diverging": np.repeat(self.num_diverging, d + 1),
            },
            index=pd.MultiIndex.from_product([range(n), [*range(d), "lp"]], names=names),
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def __str__(self) -> str:
        """Return a few lines with the worst of everything, and its remedy."""
        n, d = self.rhat.shape
        worst = (
            "no two chains to compare"
            if self.num_draws >= FEWEST
            else f"r-hat and ESS need at least {FEWEST} draws of each chain"
        )
        if np.isfinite(self.rhat).any():
            example, component = np.unravel_index(np.nanargmax(self.rhat), self.rhat.shape)
            worst = (
                f"r-hat: worst {self.worst_rhat:.3f} (example {example}, component {component}), "
                f"99th percentile {np.nanpercentile(self.rhat, 99):.3f}, "
                f"median {np.nanmedian(self.rhat):.3f}"
            )
            if np.isfinite(self.rhat_lp).any():
                worst += f"; of the energy: worst {np.nanmax(self.rhat_lp):.3f}"
        lines = [
            f"{counted(n, 'example')}, {counted(d, 'latent component')} each, "
            f"{counted(self.num_chains, 'chain')} of {counted(self.num_draws, 'draw')}",
            worst,
        ]
        if np.isfinite(self.ess).any():
            median = np.nanmedian(self.ess)
            lines.append(f"ESS: smallest {self.smallest_ess:.0f}, median {median:.0f}")
        if self.latents_differ:
            lines.append(
                "latents differ between chains in "
                f"{counted(len(self.latents_differ), 'example')} whose {self.judged.what} agree, "
                f"{self.latents_differ[:5]}: several latents give the "
                f"same; read {self.judged.what}, not latents"
            )
        return "\n".join([*lines, *self.problems()])


def _first_of(flags: NDArray[np.bool_], key: NDArray[np.float64]) -> list[int]:
    """Return up to five of the examples that are flagged, by a key."""
    order = np.argsort(np.where(flags, key, np.inf), kind="stable")
    return [int(i) for i in order[: min(5, int(flags.sum()))]]


def summarise(
    draws: Float[Tensor, "chains draws n d"],
    lp: Float[Tensor, "chains draws n"] | None = None,
    diverging: Bool[Tensor, "chains draws n"] | None = None,
    *,
    acceptance_rate: Float[Tensor, "chains draws n"] | None = None,
    thinning: int = 1,
    read: Read | None = None,
    what: str = "latents",
) -> Summary:
    """Return r-hat and effective sample sizes, with chains that cannot be trusted left out.

    Parameters
    ----------
    draws : Tensor, (chains, draws, n, d)
        Of fewer than 4 draws of each chain r-hat and ESS are NaN, and the rest is told; of a single
        one whether a chain moves is not told.
    lp : Tensor, (chains, draws, n), optional
        Log density of each draw.
    diverging : bool Tensor, (chains, draws, n), optional
        Whether its proposal diverged.
    acceptance_rate : Tensor, (chains, draws, n), optional
        With which its proposal was accepted. Without it every chain that never moves is at fault;
        with it, not where rejections explain it.
    thinning : int, default 1
        Proposals for each draw.
    read : callable, optional
        What the verdict is made on instead of the draws: from a slice of the examples to their
        values, (chains, some draws at equal distances, k, q).
    what : str, default "latents"
        Its name in sentences.

    Raises
    ------
    ValueError
        If there are no draws.
    """
    chains, num_draws, n, d = draws.shape
    if num_draws < 1:
        raise ValueError(f"draws must hold draws of each chain, got shape {tuple(draws.shape)}")
    draws = draws.detach()
    finite = draws.isfinite().all(3).all(1)
    still = (draws == draws[:, :1]).all(1).all(-1) & (num_draws > 1)
    frozen = frozen_chains(finite & still, acceptance_rate, (num_draws - 1) * thinning, CHANCE)
    usable = finite & ~frozen
    copied: list[tuple[int, int, int]] = []
    # Two chains of many examples may well agree in a single number of 24 bits.
    for first in range(chains if num_draws * d > 1 else 0):
        for second in range(first + 1, chains):
            same = (draws[first] == draws[second]).all(0).all(-1) & usable[first] & usable[second]
            copied += [(int(i), first, second) for i in torch.nonzero(same)[:, 0]]
            usable[second] &= ~same
    values = draws if lp is None else torch.cat([draws, lp.detach()[..., None]], 3)
    found = statistics_of(values, usable)
    latents, energy = found.columns(slice(d)), found.columns(slice(d, None))
    asked = latents if read is None or num_draws < FEWEST else statistics_read(read, usable)
    num_values = n * (asked.rhat.shape[1] + energy.rhat.shape[1])
    judged = Judged(
        what,
        np.fmax.reduce(np.column_stack([asked.rhat, energy.rhat]), axis=1),
        np.fmin.reduce(np.column_stack([asked.ess, energy.ess]), axis=1),
        np.fmax(
            asked.share_of_limit(num_values, CHANCE), energy.share_of_limit(num_values, CHANCE)
        ),
    )
    differ = (latents.share_of_limit(n * d, CHANCE) > 1) & ~(judged.disagreement > 1)
    without = np.full(n, np.nan)
    counts = torch.zeros(n, dtype=torch.int64) if diverging is None else diverging.sum((0, 1)).cpu()
    return Summary(
        latents.rhat,
        latents.ess,
        without if lp is None else energy.rhat[:, 0],
        without if lp is None else energy.ess[:, 0],
        counts.numpy(),
        chains,
        num_draws,
        frozen=_pairs(frozen),
        copied=copied,
        not_finite=_pairs(~finite),
        judged=judged,
        latents_differ=[] if read is None else np.flatnonzero(differ).tolist(),
        excess=without if lp is None else excess_energy(lp),
    )


def _pairs(flags: Tensor) -> list[tuple[int, int]]:
    return [(int(example), int(chain)) for example, chain in torch.nonzero(flags.T)]
