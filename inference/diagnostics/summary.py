"""Convergence of many short posteriors at once; chains that cannot be trusted named apart."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from .convergence import rhat_and_ess
from .described import as_html

LARGEST_RHAT = 1.01
SMALLEST_ESS = 100
"""For each chain, as ArviZ and Stan advise."""


FEW_DIVERGING = 0.005
"""Share of an example's proposals that may diverge without a word where its chains mix well.

A proposal that diverges is rejected, which is exact. What is to be feared is a part of the
posterior that no chain enters: it shows in r-hat and ESS of latents and energy, or in how many
diverge.
Eight schools, not centred, have 0.1 to 0.2 % in runs without a bias; centred, with one, they have
0.2 to 13 %, an r-hat up to 1.4 and an ESS of 8 to 162.
"""


class WorstExample(NamedTuple):
    """One example's diagnostics: the worst over its components and its energy."""

    example: int
    rhat: float
    ess: float
    num_diverging: int


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
        Chains that never moved. ArviZ gives them the full sample size.
    copied : list of (example, chain, chain)
        Pairs of chains with the same draws.
    not_finite : list of (example, chain)
        Chains with a NaN or an infinity.

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

    @property
    def worst_rhat(self) -> float:
        """Largest r-hat over examples and components, of the chains that move."""
        return float(np.nanmax(self.rhat)) if np.isfinite(self.rhat).any() else float("nan")

    @property
    def smallest_ess(self) -> float:
        """Smallest effective sample size over examples and components."""
        return float(np.nanmin(self.ess)) if np.isfinite(self.ess).any() else float("nan")

    def worst(self, count: int = 10) -> list[WorstExample]:
        """Return the examples that have mixed least: by r-hat, the energy's included."""
        rhat = _worst_of(np.fmax, self.rhat, self.rhat_lp)
        ess = _worst_of(np.fmin, self.ess, self.ess_lp)
        # An example without any r-hat is worse than all others.
        order = np.argsort(-np.where(np.isnan(rhat), np.inf, rhat), kind="stable")[:count]
        return [
            WorstExample(int(i), float(rhat[i]), float(ess[i]), int(self.num_diverging[i]))
            for i in order
        ]

    def problems(self) -> list[str]:
        """Return a sentence for each thing that is wrong, with its remedy; none if all is well."""
        found = []
        for what, chains in (
            ("never moved", self.frozen),
            ("are copies of another", self.copied),
            ("hold NaN or infinity", self.not_finite),
        ):
            if chains:
                found.append(
                    f"{len(chains)} chains {what}, (example, chain) {chains[:5]}: they are left "
                    "out of r-hat and ESS; look at their examples' data and step sizes"
                )
        rhat = _worst_of(np.fmax, self.rhat, self.rhat_lp)
        high = rhat > LARGEST_RHAT
        ess = _worst_of(np.fmin, self.ess, self.ess_lp)
        low = ess < SMALLEST_ESS * self.num_chains
        # NaN, where nothing can be compared, is no sign that chains mix.
        mixes = (rhat <= LARGEST_RHAT) & (ess >= SMALLEST_ESS * self.num_chains)
        many = self.num_diverging > FEW_DIVERGING * self.num_chains * self.num_draws
        if (many | ((self.num_diverging > 0) & ~mixes)).any():
            worst = int(self.num_diverging.argmax())
            found.append(
                f"{int(self.num_diverging.sum())} proposals diverged, in "
                f"{int((self.num_diverging > 0).sum())} of {len(self.num_diverging)} examples "
                f"(most in example {worst}: {int(self.num_diverging[worst])}): warm up longer, or "
                "raise the kernel's target_acceptance"
            )
        if high.any():
            worst = int(np.nanargmax(rhat))
            found.append(
                f"r-hat is above {LARGEST_RHAT} in {int(high.sum())} of {len(rhat)} examples (worst"
                f" {rhat[worst]:.3f} in example {worst}): more warmup and draws (extend), or, if "
                "chains sit in different modes, ParallelTempering"
            )
        if low.any():
            worst = int(np.nanargmin(ess))
            found.append(
                f"ESS is below {SMALLEST_ESS} a chain in {int(low.sum())} of {len(ess)} examples "
                f"(worst {ess[worst]:.0f} in example {worst}): more draws"
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
        worst = "no two chains to compare"
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
            f"{n} examples, {d} latent components each, {self.num_chains} chains of "
            f"{self.num_draws} draws",
            worst,
        ]
        if np.isfinite(self.ess).any():
            median = np.nanmedian(self.ess)
            lines.append(f"ESS: smallest {self.smallest_ess:.0f}, median {median:.0f}")
        return "\n".join([*lines, *self.problems()])


def _worst_of(
    pick: np.ufunc, by_component: NDArray[np.float64], of_energy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each example's worst value, NaN only where all are."""
    worst: NDArray[np.float64] = pick(pick.reduce(by_component, axis=1), of_energy)
    return worst


def summarise(
    draws: Float[Tensor, "chains draws n d"],
    lp: Float[Tensor, "chains draws n"] | None = None,
    diverging: Bool[Tensor, "chains draws n"] | None = None,
) -> Summary:
    """Return r-hat and effective sample sizes, with chains that cannot be trusted left out.

    Parameters
    ----------
    draws : Tensor, (chains, draws, n, d)
        At least 4 draws of each chain.
    lp : Tensor, (chains, draws, n), optional
        Log density of each draw.
    diverging : bool Tensor, (chains, draws, n), optional
        Whether its proposal diverged.

    Raises
    ------
    ValueError
        If there are fewer than 4 draws.
    """
    chains, num_draws, n, d = draws.shape
    if num_draws < 4:
        raise ValueError(f"draws must hold at least 4 draws of each chain, got {num_draws}")
    draws = draws.detach()
    finite = draws.isfinite().all(3).all(1)
    moved = (draws != draws[:, :1]).any(1).any(-1)
    usable = finite & moved
    copied: list[tuple[int, int, int]] = []
    for first in range(chains):
        for second in range(first + 1, chains):
            same = (draws[first] == draws[second]).all(0).all(-1) & usable[first] & usable[second]
            copied += [(int(i), first, second) for i in torch.nonzero(same)[:, 0]]
            usable[second] &= ~same
    values = draws if lp is None else torch.cat([draws, lp.detach()[..., None]], 3)
    rhat = np.full((n, values.shape[3]), np.nan)
    ess = np.full((n, values.shape[3]), np.nan)
    for pattern in usable.T.unique(dim=0):
        if not pattern.any():
            continue
        examples = (pattern == usable.T).all(1)
        found = rhat_and_ess(values[pattern][:, :, examples])
        chosen = examples.cpu().numpy()
        ess[chosen] = found[1].cpu().numpy()
        if pattern.sum() > 1:
            rhat[chosen] = found[0].cpu().numpy()
    without = np.full(n, np.nan)
    counts = torch.zeros(n, dtype=torch.int64) if diverging is None else diverging.sum((0, 1)).cpu()
    return Summary(
        rhat[:, :d],
        ess[:, :d],
        without if lp is None else rhat[:, d],
        without if lp is None else ess[:, d],
        counts.numpy(),
        chains,
        num_draws,
        frozen=_pairs(finite & ~moved),
        copied=copied,
        not_finite=_pairs(~finite),
    )


def _pairs(flags: Tensor) -> list[tuple[int, int]]:
    return [(int(example), int(chain)) for example, chain in torch.nonzero(flags.T)]
