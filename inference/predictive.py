"""Draws of the data from posterior draws of the latents."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from .arguments import check_positive
from .potentials.potential import Potential
from .potentials.threads import one_at_a_time
from .potentials.trace import evaluation_mode

T = TypeVar("T")

DRAWN_AT_ONCE = 4096
"""Examples whose data are drawn at once."""


def spread_evenly(total: int, num_draws: int | None) -> Tensor:
    """Return which of ``total`` draws to take, in order and at equal distances; by default all.

    Raises
    ------
    ValueError
        If ``num_draws`` is not a positive integer, or more than there are.
    """
    if num_draws is None:
        return torch.arange(total)
    check_positive("num_draws", num_draws)
    if num_draws > total:
        raise ValueError(
            f"num_draws must be at most the {total} draws of the latents (chains times draws), got "
            f"{num_draws}"
        )
    return torch.arange(num_draws) * total // num_draws


def predicted(potential: Potential, position: Tensor, seed: int) -> dict[str, Tensor]:
    """Return a draw of each observed site, all cells, at positions (draws, n, d): (draws, n, ...).

    Parameters
    ----------
    potential : Potential
        Of the n examples.
    position : Tensor
        Unconstrained latents.
    seed : int
        Reproduces the draws.
    """
    return gathered(_by_site(potential, Potential.predict, position, seed))


def likelihoods(potential: Potential, position: Tensor) -> dict[str, Tensor]:
    """Return ``log p(y | z)`` of each observed site at positions (draws, n, d): (draws, n), nats.

    Parameters
    ----------
    potential : Potential
        Of the n examples.
    position : Tensor
        Unconstrained latents.
    """

    def likelihood(copies: Potential, some: Tensor, seed: int) -> dict[str, Tensor]:
        return copies.log_likelihoods(some)

    return gathered(_by_site(potential, likelihood, position, 0))


def deterministic(potential: Potential, position: Tensor) -> Iterator[dict[str, Tensor]]:
    """Return what deterministic sites are at positions (draws, n, d), of some draws at a time.

    Parameters
    ----------
    potential : Potential
        Of the n examples.
    position : Tensor
        Unconstrained latents.

    Returns
    -------
    iterator of dict of Tensor
        By site name, (some draws, n, ...).
    """

    def values(copies: Potential, some: Tensor, seed: int) -> dict[str, Tensor]:
        return copies.deterministic(some)

    return _by_site(potential, values, position, 0)


def _by_site(
    potential: Potential,
    function: Callable[[Potential, Tensor, int], dict[str, Tensor]],
    position: Tensor,
    seed: int,
) -> Iterator[dict[str, Tensor]]:
    """Yield a function of potential and rows, by site, for some draws at a time."""

    @one_at_a_time
    def of_rows(some: Tensor, block_seed: int) -> dict[str, Tensor]:
        data = potential.data.repeat(len(some))
        # Draws that lie in a file are not on the model's device.
        some, copies = some.to(data.device), potential.on(data)
        with evaluation_mode(potential.model):
            found = function(copies, some.flatten(0, 1), block_seed)
        return {name: value.unflatten(0, some.shape[:2]) for name, value in found.items()}

    yield from _in_blocks(of_rows, position, seed)


def gathered(blocks: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the blocks of some draws put together."""
    parts = list(blocks)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def imputed(potential: Potential, samples: Mapping[str, Tensor], seed: int) -> Tensor:
    """Return draws of the data's hidden cells, (draws, n, ...), observed cells as they are.

    By the model's method ``impute(y, latents, seed=, mask=, context=)``.

    Parameters
    ----------
    potential : Potential
        Of the n examples; the first of its data is y.
    samples : mapping of Tensor
        Constrained latents by site name, (draws, n, ...).
    seed : int
        Reproduces the draws.

    Raises
    ------
    ValueError
        If the model has no such method, or not one latent site, or is one example as a whole.
    """
    if potential.layout.is_joint:
        raise ValueError(
            "impute() is of examples in a plate, and the whole model was sampled as one: predict() "
            "draws all cells given the latents"
        )
    model: Any = potential.model
    if not callable(getattr(model, "impute", None)) or len(samples) != 1:
        raise ValueError(
            "the model has no method impute(y, latents, seed=, mask=, context=) that draws hidden "
            "cells given the latents of one site and the observed cells: predict() draws all cells "
            "given the latents, which is the same where an example's cells are independent given "
            "them"
        )
    data = potential.data
    given = dict(zip(("y", "mask", "context"), data.args, strict=False)) | dict(data.kwargs)
    (latents,) = samples.values()

    @one_at_a_time
    def draw(some: Tensor, block_seed: int) -> Tensor:
        drawn: Tensor = model.impute(latents=some, seed=block_seed, **given)
        return drawn

    return torch.cat(list(_in_blocks(draw, latents, seed)))


def _in_blocks(draw: Callable[[Tensor, int], T], draws: Tensor, seed: int) -> Iterator[T]:
    size = max(1, DRAWN_AT_ONCE // draws.shape[1])
    # Seeds of different runs that lie side by side have no block in common.
    for number, some in enumerate(draws.split(size)):
        yield draw(some, seed * 1_000_003 + number)
