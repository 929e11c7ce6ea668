"""What a learning run keeps in its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..potentials.potential import dtype_and_device
from .checkpoint import load_checkpoint, save_checkpoint
from .files import settle
from .fit_record import Progress
from .fit_run import FitRun
from .snapshot import drop_snapshots, restore_snapshot, save_snapshot

ENTRIES = (
    "progress",
    "model",
    "optimizer",
    "scheduler",
    "chains",
    "chains_snapshot",
    "average",
    "validation_chains",
    "choices",
)


def save_fit(run: FitRun, path: Path, identity: Mapping[str, Any]) -> None:
    """Write the checkpoint, and a copy of the chains' file beside it."""
    learner, chains = run.learner, run.chains.to_dict()
    snapshot = None
    if run.chains.file is not None:
        del chains["position"]
        snapshot = save_snapshot(run.chains.file, path, run.progress.iteration)
    save_checkpoint(
        path,
        {
            "kind": "a fit",
            "identity": dict(identity),
            "progress": vars(run.progress),
            "model": _tensors(run),
            "optimizer": learner.optimizer.state_dict(),
            "scheduler": None if learner.scheduler is None else learner.scheduler.state_dict(),
            "chains": chains,
            "chains_snapshot": snapshot,
            "average": vars(learner.average),
            "validation_chains": None if run.held_out is None else run.held_out.chains.to_dict(),
            "choices": run.chosen.to_dict(),
        },
    )
    if snapshot is not None:
        assert run.chains.file is not None
        settle(run.chains.file)
        drop_snapshots(path, but=snapshot["name"])


def resume_fit(run: FitRun, path: Path, identity: Mapping[str, Any]) -> None:
    """Put everything back as it was.

    Raises
    ------
    ValueError
        If the checkpoint is of other work or cannot be read.
    """
    content = load_checkpoint(path, "a fit", identity, ENTRIES)
    learner = run.learner
    device = dtype_and_device(run.potential.model)[1]
    with torch.no_grad():
        for name, value in _tensors(run).items():
            value.copy_(content["model"][name])
    learner.optimizer.load_state_dict(content["optimizer"])
    if learner.scheduler is not None:
        learner.scheduler.load_state_dict(content["scheduler"])
    if run.chains.file is not None:
        restore_snapshot(path, content["chains_snapshot"], run.chains.file)
    for chains, kept in (
        (run.chains, content["chains"]),
        (None if run.held_out is None else run.held_out.chains, content["validation_chains"]),
    ):
        for name, value in (kept or {}).items() if chains is not None else ():
            setattr(chains, name, value.to(device))
    learner.average.mean = {k: v.to(device) for k, v in content["average"]["mean"].items()}
    learner.average.count = content["average"]["count"]
    run.progress = Progress(**content["progress"])
    run.potential = run.chosen.resumed(content["choices"], run.potential)


def _tensors(run: FitRun) -> dict[str, Tensor]:
    """Return θ by name, and the rest of an ``nn.Module``'s state."""
    state = {name: parameter.detach() for name, parameter in run.learner.parameters.items()}
    if isinstance(run.potential.model, nn.Module):
        state.update(run.potential.model.state_dict())
    return state
