"""Where chains start."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from pyro.infer.autoguide.initialization import InitMessenger
from torch import Tensor

from ..noise.keyed import KeyedSource, standard_normal
from .coordinates import coordinates_of
from .data import ExampleData
from .potential import Potential, dtype_and_device
from .trace import Layout, Model, Record, run, seeded

InitStrategy = Callable[[dict[str, Any]], Tensor]
"""From a sample site to its value: those of ``pyro.infer.autoguide.initialization``."""


def first_position(
    potential: Potential,
    num_chains: int,
    seed: int,
    init_strategy: InitStrategy | None,
    examples: Int64[Tensor, " n"] | None = None,
) -> Float[Tensor, "n c d"]:
    """Return starting positions (n, chains, d), dispersed and reproducible.

    ``examples`` are the numbers of the potential's examples among all, by default 0, 1, ...

    Without an ``init_strategy`` every unconstrained component starts standard normal, from noise
    that belongs to the example: for the prior N(0, I) that is a draw from it. A model's coordinates
    may make draws from another prior of it.
    """
    n, d = potential.num_examples, potential.latent_dim
    dtype, device = dtype_and_device(potential.model)[0], potential.data.device
    if init_strategy is None:
        numbers = torch.arange(n, device=device) if examples is None else examples
        source = KeyedSource.of_chains(seed, numbers, num_chains)
        like = torch.empty(num_chains * n, d, dtype=dtype, device=device)
        # Step -1: no step of a chain has this key.
        position = standard_normal(source.at(-1), like)
        coordinates = coordinates_of(potential.model)
        if coordinates is not None:
            position = coordinates.starts(position)
    else:
        # Chain by chain, so that a strategy may hold values for the n examples.
        parts = []
        for chain in range(num_chains):
            values = _initial_values(
                potential.model, potential.data, init_strategy, seed + 1_000_003 * chain
            )
            latents = {site.name: values[site.name] for site in potential.layout.sites}
            if potential.layout.is_joint:
                latents = {name: value[None] for name, value in latents.items()}
            parts.append(potential.flatten(latents))
        position = torch.cat(parts)
    return position.reshape(num_chains, n, d).transpose(0, 1).contiguous()


def by_chain(layout: Layout, latents: Any, num_chains: int, num_examples: int) -> dict[str, Tensor]:
    """Return constrained latents that a user gave as (chains, n, ...) by site name.

    Parameters
    ----------
    layout : Layout
        The model's sites.
    latents : Tensor or mapping of Tensor
        By site name, or of the only site: (n, ...), from which all chains start, or
        (chains, n, ...).
    num_chains, num_examples : int
        How many there are.

    Raises
    ------
    ValueError
        If they are not those of the model's sites, examples and chains.
    """
    names = [site.name for site in layout.sites]
    if not isinstance(latents, Mapping):
        latents = {names[0]: latents} if len(names) == 1 else {}
    if set(latents) != set(names):
        raise ValueError(
            f"latents must be given by name for the sites {names}, got {sorted(latents)}"
        )
    whole = {}
    for site in layout.sites:
        value = torch.as_tensor(latents[site.name]).detach()
        shapes = (num_examples, *site.shape), (num_chains, num_examples, *site.shape)
        if value.shape not in shapes:
            raise ValueError(
                f"latents of {site.name!r} must have shape {shapes[0]} or, for each chain, "
                f"{shapes[1]}, got {tuple(value.shape)}"
            )
        whole[site.name] = value.expand(shapes[1])
    return whole


def given_position(potential: Potential, latents: Mapping[str, Tensor]) -> Float[Tensor, "n c d"]:
    """Return the position of constrained latents (chains, n, ...) by site name.

    Raises
    ------
    ValueError
        If they are not in their site's support.
    """
    dtype, device = dtype_and_device(potential.model)[0], potential.data.device
    num_chains = len(next(iter(latents.values())))
    of_chains = [
        potential.flatten({name: value[c].to(device, dtype) for name, value in latents.items()})
        for c in range(num_chains)
    ]
    position = torch.stack(of_chains, 1)
    wrong = ~position.isfinite().flatten(1).all(1)
    if bool(wrong.any()):
        raise ValueError(
            f"latents must be finite and within their site's support, got others for "
            f"{int(wrong.sum())} of {len(wrong)} examples, the first {int(wrong.nonzero()[0])}"
        )
    return position


def _initial_values(
    model: Model, data: ExampleData, strategy: InitStrategy, seed: int
) -> dict[str, Tensor]:
    record = Record()
    with torch.no_grad(), seeded(seed), InitMessenger(strategy):
        run(model, data, record)
    return {site["name"]: site["value"] for site in record.sites}
