"""Results in a few lines, as they are printed."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from torch import Tensor

MOST_NAMES = 6
"""Names of a kind that are printed."""


def counted(count: int, noun: str) -> str:
    """Return a number of things, one of them in the singular."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def described(
    samples: Mapping[str, Tensor],
    stats: Mapping[str, Tensor],
    observed: Mapping[str, Tensor],
    accumulated: Iterable[str],
    seconds: float,
) -> str:
    """Return a posterior's draws, data and sampling in at most ten lines."""
    chains, draws, n = stats["lp"].shape
    latents = shapes({name: value[0, 0, 0] for name, value in samples.items()})
    lines = [
        f"Posterior of {counted(n, 'example')}, {counted(chains, 'chain')} of "
        f"{counted(draws, 'draw')}",
        f"  latents: {latents}",
    ]
    for name, value in list(observed.items())[:3]:
        hidden = float(value.isnan().double().mean())
        lines.append(f"  {name}: {tuple(value.shape)}, {hidden:.1%} hidden")
    if accumulated:
        lines.append(f"  accumulated: {listed(accumulated)}")
    lines.append(
        f"  acceptance {float(stats['acceptance_rate'].mean()):.2f}, "
        f"{int(stats['diverging'].sum())} divergent, median step size "
        f"{float(stats['step_size'].median()):.3g}, {seconds:.1f} s"
    )
    return "\n".join([*lines, "  summary() tells how well the chains have mixed"])


def shapes(tensors: Mapping[str, Tensor]) -> str:
    """Return names with shapes."""
    return listed(f"{name} {tuple(value.shape)}" for name, value in tensors.items())


def listed(names: Iterable[str]) -> str:
    """Return names, the first of them if they are many."""
    names = list(names)
    rest = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return ", ".join([*names[:MOST_NAMES], *rest])


def as_html(result: Any) -> str:
    """Return what is printed, for a notebook."""
    return f"<pre>{escape(repr(result))}</pre>"
