"""What a posterior's file holds beside the groups that ArviZ knows; a posterior from its file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .diagnostics.moments import moments_from_dict, moments_to_dict
from .kernels.base import Kernel
from .potentials.potential import Potential
from .potentials.threads import one_at_a_time
from .runs.checkpoint import moved
from .runs.draw_store import DrawStore
from .runs.energies import check_energies
from .runs.plan import Accumulator, Plan
from .runs.posterior_file import finish, read
from .speed import Chosen

_CONTINUED = ("seed", "first_step", "thinning", "chunk_size", "parameters", "ids")
"""What a file keeps of the plan for further draws, beside its kernel and the kernel's state."""

_AS_THEY_WERE = ("tuning", "state", "seconds", "num_gradients", "interrupted")

_REST = (*_AS_THEY_WERE, "latents", "accumulated", "going_on", "choices")


def rest_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file keeps of a posterior, of these fields, beside its draws and data."""
    plan: Plan | None = fields["continuation"]
    state = fields["state"]
    return {
        **{name: fields[name] for name in _AS_THEY_WERE},
        "state": None if state is None else dict(state),
        "tuning": dict(fields["tuning"]),
        "latents": list(fields["samples"]),
        "accumulated": moments_to_dict(fields["accumulated"]),
        "choices": None if plan is None else plan.chosen.to_dict(),
        "going_on": None
        if plan is None
        else {**{name: getattr(plan, name) for name in _CONTINUED}, "kernel": repr(plan.kernel)},
    }


def finish_draws(
    store: DrawStore, groups: Mapping[str, Mapping[str, Tensor]], rest: Mapping[str, Any]
) -> None:
    """Write into a file of draws what it lacks when sampling has ended."""
    if store.path is None or store.layout is None:
        return
    written = {("posterior", name) for name in store.samples}
    written |= {("sample_stats", name) for name in store.stats}
    values = (
        (store.layout.paths[group][name], value)
        for group, variables in groups.items()
        for name, value in variables.items()
        if (group, name) not in written
    )
    finish(store.path, store.layout, values, rest)


@one_at_a_time
def load(
    path: Path,
    potential: Potential | None,
    kernel: Kernel[Any] | None,
    accumulate: Mapping[str, Accumulator] | None,
) -> dict[str, Any]:
    """Return the fields of a posterior from its file.

    Raises
    ------
    ValueError
        If the file is not whole or not one of a posterior, or of another model, data or kernel.
    """
    groups, content = read(path, _REST)
    device = torch.device("cpu") if potential is None else potential.data.device
    content, groups = moved(content, device), moved(groups, device)
    samples = {name: groups["posterior"][name] for name in content["latents"]}
    if groups.get("unconstrained_posterior"):
        position = groups["unconstrained_posterior"]["position"]
    else:
        ((name, one),) = samples.items()
        position = one.reshape(*one.shape[:3], -1)
        samples = {name: position.view(one.shape)}
    stats = {name: v for name, v in groups["sample_stats"].items() if name != "energy"}
    fields = {
        "samples": samples,
        "sample_stats": stats,
        "accumulated": moments_from_dict(content["accumulated"]),
        "observed": groups.get("observed_data", {}),
        "constant": groups.get("constant_data", {}),
        "position": position,
        **{name: content[name] for name in _AS_THEY_WERE},
    }
    going_on = content["going_on"]
    if going_on is not None and kernel is not None and going_on["kernel"] != repr(kernel):
        raise ValueError(
            f"kernel must be the one that the draws were made with, {going_on['kernel']}, got "
            f"{kernel!r}"
        )
    if potential is None:
        return fields
    chosen = Chosen.of(potential)
    if content["choices"] is not None:
        # What the file's draws were computed in, unless the potential's precision has been named.
        chosen = replace(chosen, timed=potential.autocast is None)
        potential = chosen.resumed(content["choices"], potential)
    check_energies(potential, content["state"] or {})
    fields["potential"] = potential
    if going_on is not None and kernel is not None:
        fields["continuation"] = Plan(
            potential,
            kernel,
            start=content["state"]["position"].transpose(0, 1),
            warmup_steps=0,
            num_samples=position.shape[1],
            accumulate=accumulate or {},
            chosen=chosen,
            moments=fields["accumulated"],
            state=content["state"],
            **{name: going_on[name] for name in _CONTINUED},
        )
    return fields
