"""Where chains stand, as the latents that a user sees."""

from typing import Any

import torch
from torch import Tensor

from ..potentials.data import ExampleData
from ..potentials.potential import Potential
from ..potentials.trace import evaluation_mode
from .chains import Chains


def latents_at(
    chains: Chains, potential: Potential, examples: ExampleData, part: Tensor
) -> tuple[ExampleData, dict[str, Tensor]]:
    """Return data and constrained latents of some examples: all of the first chain, then others."""
    data = examples.select(part).repeat(chains.num_chains)
    flat = chains.at(part).transpose(0, 1).flatten(0, 1)
    return data, potential.on(data).unflatten(flat)


def last_draws(chains: Chains, potential: Potential, examples: ExampleData, at_once: int) -> Any:
    """Return the last draw of each chain in constrained space.

    Parameters
    ----------
    chains : Chains
        Of all examples.
    potential : Potential
        Of any of them.
    examples : ExampleData
        All.
    at_once : int
        Examples whose latents are computed at once.

    Returns
    -------
    Tensor or dict of Tensor
        (n, ...), or (chains, n, ...) with several chains; a dict by site name where there are
        several sites.
    """
    c, sites = chains.num_chains, potential.layout.sites
    if chains.file is not None and len(sites) == 1 and sites[0].is_real:
        # A view of the file: what does not fit into memory shall not be loaded.
        by_chain = chains.position.transpose(0, 1).unflatten(2, sites[0].shape or (1,))
        by_chain = by_chain if sites[0].shape else by_chain[..., 0]
        return by_chain[0] if c == 1 else by_chain
    parts: list[dict[str, Tensor]] = []
    index = torch.arange(examples.num_examples, device=examples.device)
    with evaluation_mode(potential.model):
        for part in index.split(at_once):
            _, found = latents_at(chains, potential, examples, part)
            parts.append(
                {
                    name: value.reshape(c, len(part), *value.shape[1:])
                    for name, value in found.items()
                }
            )
    latents = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
    if c == 1:
        latents = {name: value[0] for name, value in latents.items()}
    return next(iter(latents.values())) if len(latents) == 1 else latents
