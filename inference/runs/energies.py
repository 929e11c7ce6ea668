"""Energies that chains keep, held against the model: it must still be what was sampled."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..potentials.potential import Potential
from ..potentials.threads import one_at_a_time
from ..potentials.trace import evaluation_mode

_AT_ONCE = 4096
"""Examples whose energies are evaluated at once, where nobody says how many."""


class StaleEnergy(NamedTuple):
    """A chain whose kept energy, nats, is not that of its position now."""

    example: int
    chain: int
    kept: float
    now: float


@one_at_a_time
def stale_energies(
    potential: Potential, state: Mapping[str, Tensor], chunks: Sequence[slice] | None = None
) -> list[StaleEnergy]:
    """Evaluate the energies once more that a kernel's last state holds; return those that differ.

    Parameters
    ----------
    potential : Potential
        Of n examples, in the precision that the energies were computed in.
    state : mapping of Tensor
        (chains, n, ...); what has no energies, or NaN, is not compared.
    chunks : sequence of slice, optional
        Examples that are evaluated at once.

    Raises
    ------
    ValueError
        If the state is of another number of examples or latent components.
    """
    if "position" not in state:
        return []
    n = potential.num_examples
    of_state, fitting = tuple(state["position"].shape[1:]), (n, potential.latent_dim)
    if of_state != fitting:
        raise ValueError(
            f"potential must be of the {of_state[0]} examples and {of_state[1]} latent components "
            f"that these draws are of, got {fitting[0]} and {fitting[1]}"
        )
    place = "last_" if "last_energy" in state else ""
    kept = state.get(f"{place}energy")
    if kept is None and "prior_energy" in state:
        kept = (state["prior_energy"] + state["likelihood_energy"])[..., 0]
    if kept is None or kept.shape != state["position"].shape[:2]:
        return []
    position = state[f"{place}position"].to(potential.data.device)
    roughly = 1e-4 if potential.autocast is None else 3e-2
    stale = []
    with evaluation_mode(potential.model):
        for examples in chunks or [slice(i, min(i + _AT_ONCE, n)) for i in range(0, n, _AT_ONCE)]:
            some = potential.plain().rows(examples)
            for chain, at in enumerate(position[:, examples]):
                now = some(at)[0]
                before = kept[chain, examples].to(now)
                # Not the largest: one example far away must not excuse the others.
                sizes = now[now.isfinite()].abs()
                atol = roughly * (1 + float(sizes.median()) if len(sizes) else 1.0)
                apart = ~torch.isclose(now, before, rtol=roughly, atol=atol)
                stale += [
                    StaleEnergy(examples.start + i, chain, float(before[i]), float(now[i]))
                    for i in torch.nonzero(apart & ~before.isnan())[:, 0].tolist()
                ]
    return stale


def check_energies(
    potential: Potential, state: Mapping[str, Tensor], chunks: Sequence[slice] | None = None
) -> None:
    """Raise ValueError if energies are not what was kept: the model or the data have changed."""
    stale = stale_energies(potential, state, chunks)
    if stale:
        first = stale[0]
        raise ValueError(
            f"the model or the data are not what these draws were made with: the energy of the "
            f"last draw of chain {first.chain}, example {first.example}, was {first.kept:.6g} nats "
            f"and is {first.now:.6g}. Put them back as they were, or sample afresh"
        )
