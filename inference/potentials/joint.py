"""A model that is one example as a whole: all its sites jointly, its chains evaluated at once.

Such a model knows nothing of a batch of chains, so it is run under ``torch.func.vmap``; where
that cannot follow it (a value read into Python, an operation without a rule), once for each chain.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as pytree

from .data import ExampleData
from .site_checks import check_continuous
from .trace import (
    Layout,
    LogDensity,
    Model,
    evaluation_mode,
    is_deterministic,
    layout_of,
    log_density,
    recorded,
    seeded,
)

A = TypeVar("A")
B = TypeVar("B")

SAME = 1e-3
"""Relative difference of log densities and gradients beyond which ``vmap`` is not believed."""


def is_global(model: Model, data: ExampleData) -> bool:
    """Return whether a model runs on shared data and has latents, none of them in a plate."""
    try:
        sites = recorded(model, data)
    except Exception:  # whatever a user's model does with data that it is not meant for
        return False
    latents = [site for site in sites if not (site["is_observed"] or is_deterministic(site))]
    return bool(latents) and not any(site["cond_indep_stack"] for site in latents)


def read_joint(model: Model, data: ExampleData) -> Layout:
    """Run a model once and return the layout of all its latents, one example's.

    Raises
    ------
    ValueError
        If the model has no latent site or a discrete one, subsamples a plate, or if a density has
        terms for what is in neither the distribution nor the value; the message names the site.
    """
    sites = recorded(model, data)
    for site in sites:
        if not is_deterministic(site):
            _check_site(site)
    layout = layout_of(sites, None, model, data)
    dtype = next(site["value"].dtype for site in sites if site["name"] == layout.sites[0].name)
    return replace(layout, is_batched=_runs_batched(model, data, layout, dtype))


def _check_site(site: dict[str, Any]) -> None:
    name, fn = site["name"], site["fn"]
    for frame in site["cond_indep_stack"]:
        if frame.full_size is not None and frame.size != frame.full_size:
            raise ValueError(
                f"plate {frame.name!r} has subsample_size={frame.size}: leave it out, a chain "
                "needs the whole density"
            )
    check_continuous(site)
    shape, event = fn.log_prob(site["value"]).shape, len(fn.event_shape)
    of_value = site["value"].shape[: site["value"].dim() - event]
    if shape.numel() > max(fn.batch_shape.numel(), of_value.numel()):
        raise ValueError(
            f"the log density of site {name!r} has shape {tuple(shape)}, from a distribution of "
            f"batch shape {tuple(fn.batch_shape)} at a value of shape {tuple(site['value'].shape)}:"
            " each is broadcast against the other, which counts values more than once; make their "
            "shapes agree"
        )


def _runs_batched(model: Model, data: ExampleData, layout: Layout, dtype: torch.dtype) -> bool:
    """Return whether ``vmap`` gives the log densities and gradients of the model itself."""
    noise = torch.Generator().manual_seed(0)
    position = 0.1 * torch.randn(2, layout.latent_dim, generator=noise).to(data.device, dtype)

    def evaluated(layout: Layout) -> list[Tensor]:
        at = position.clone().requires_grad_()
        with torch.enable_grad(), seeded(0):
            density = density_of(model, data, layout, at)
            total = density.prior + density.likelihood
            (gradient,) = torch.autograd.grad(total.sum(), at, materialize_grads=True)
        return [total.detach(), gradient]

    with evaluation_mode(model):
        try:
            batched = evaluated(layout)
        except Exception:  # whatever vmap says of an operation that it has no rule for
            return False
        alone = evaluated(replace(layout, is_batched=False))
    return all(
        torch.allclose(a, b, rtol=SAME, atol=SAME, equal_nan=True)
        for a, b in zip(batched, alone, strict=True)
    )


def density_of(
    model: Model, data: ExampleData, layout: Layout, position: Float[Tensor, "n d"]
) -> LogDensity:
    """Run a model at each chain's position and return what its sites' densities are.

    The distributions of the sites are not among it: each chain has its own.
    """

    def at(row: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        density = log_density(model, data, layout, row)
        return density.prior, density.likelihood, density.values, density.by_site

    found = LogDensity(layout, position)
    found.prior, found.likelihood, found.values, found.by_site = over_chains(
        at, position, layout.is_batched
    )
    return found


def over_chains(function: Callable[[A], B], chains: A, is_batched: bool) -> B:
    """Return what a function gives for each chain, stacked: of tensors in tuples and dicts.

    Random numbers drawn in it are each chain's own.
    """
    if is_batched:
        batched: B = torch.func.vmap(function, randomness="different")(chains)
        return batched
    leaves, form = pytree.tree_flatten(chains)
    results = [
        function(pytree.tree_unflatten(list(row), form)) for row in zip(*leaves, strict=True)
    ]
    flat = [pytree.tree_flatten(result) for result in results]
    parts = zip(*(found for found, _ in flat), strict=True)
    stacked: B = pytree.tree_unflatten([torch.stack(part) for part in parts], flat[0][1])
    return stacked


def tried_over_chains(function: Callable[[A], B], chains: A, is_batched: bool) -> B:
    """Return what :func:`over_chains` does, one chain after the other where ``vmap`` fails.

    For what is done once in a while: draws of data have operations that densities have not.
    """
    if is_batched:
        try:
            return over_chains(function, chains, True)
        except RuntimeError:
            pass
    return over_chains(function, chains, False)
