"""Convergence of many short posteriors at once; chains that cannot be trusted named apart."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .arviz import az


@dataclass(frozen=True)
class Summary:
    """Diagnostics of each example and unconstrained component.

    Attributes
    ----------
    rhat : array, (n, d)
        Rank-normalised split r-hat over the chains that move, NaN where fewer than two are left.
    ess : array, (n, d)
        Bulk effective sample size of the same chains, NaN where none is left.
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
        lines = [f"{n} examples, {d} latent components each", worst]
        if np.isfinite(self.ess).any():
            median = np.nanmedian(self.ess)
            lines.append(f"ESS: smallest {self.smallest_ess:.0f}, median {median:.0f}")
        for what, found in (
            ("frozen", self.frozen),
            ("copied", self.copied),
            ("not finite", self.not_finite),
        ):
            if found:
                lines.append(
                    f"{len(found)} chains {what}, left out above: (example, chain) {found[:5]}"
                )
        if self.worst_rhat > 1.01:
            lines.append(
                "some chains have not mixed: more warmup and draws, or longer trajectories"
            )
        return "\n".join(lines)


def summarise(draws: Float[Tensor, "chains draws n d"]) -> Summary:
    """Return r-hat and effective sample sizes, with chains that cannot be trusted left out.

    Parameters
    ----------
    draws : Tensor, (chains, draws, n, d)
        At least 4 draws of each chain.

    Raises
    ------
    ValueError
        If there are fewer than 4 draws.
    """
    chains, num_draws, n, d = draws.shape
    if num_draws < 4:
        raise ValueError(f"draws must hold at least 4 draws of each chain, got {num_draws}")
    draws = draws.detach().cpu()
    finite = draws.isfinite().all(3).all(1)
    moved = (draws != draws[:, :1]).any(1).any(-1)
    usable = finite & moved
    copied: list[tuple[int, int, int]] = []
    for first in range(chains):
        for second in range(first + 1, chains):
            same = (draws[first] == draws[second]).all(0).all(-1) & usable[first] & usable[second]
            copied += [(int(i), first, second) for i in torch.nonzero(same)[:, 0]]
            usable[second] &= ~same
    rhat = np.full((n, d), np.nan)
    ess = np.full((n, d), np.nan)
    values = draws.double().numpy()
    patterns = usable.T.unique(dim=0)
    for pattern in patterns:
        examples = (pattern == usable.T).all(1).numpy()
        kept = pattern.numpy()
        if kept.any():
            some = values[kept][:, :, examples].reshape(kept.sum(), num_draws, -1)
            ess[examples] = _statistic("ess", some).reshape(-1, d)
            if kept.sum() > 1:
                rhat[examples] = _statistic("rhat", some).reshape(-1, d)
    return Summary(
        rhat,
        ess,
        frozen=_pairs(finite & ~moved),
        copied=copied,
        not_finite=_pairs(~finite),
    )


def _statistic(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply ArviZ's r-hat or ESS to each of the last dimension's variables, (chain, draw, k)."""
    function = getattr(az, name)
    return np.array([float(function(values[:, :, k])) for k in range(values.shape[2])])


def _pairs(flags: Tensor) -> list[tuple[int, int]]:
    return [(int(example), int(chain)) for example, chain in torch.nonzero(flags.T)]
