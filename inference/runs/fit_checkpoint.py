"""What a learning run keeps in its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..potentials.data import ExampleData
from .best_parameters import learned_tensors
from .checkpoint import fingerprint, load_checkpoint, save_checkpoint
from .files import settle
from .fit_record import Progress
from .fit_run import FitRun
from .probes import NUM_ROWS, Probes, check_probes, check_settings
from .snapshot import drop_snapshots, restore_snapshot, save_snapshot

ENTRIES = (
    "progress",
    "model",
    "optimizer",
    "scheduler",
    "chains",
    "chains_snapshot",
    "average",
    "travel",
    "score_test",
    "validation_chains",
    "choices",
    "settings",
    "probes",
    "stretches",
)


def fit_identity(run: FitRun, examples: ExampleData, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint must agree with: the loop's settings, and what it runs on."""
    ids = run.chains.ids
    return {
        **({} if ids is None else {"ids": fingerprint([ids])}),
        "parameters": {name: list(p.shape) for name, p in run.learner.parameters.items()},
        "latent sites": {site.name: list(site.shape) for site in run.potential.layout.sites},
        "data": fingerprint(examples.tensors()),
        "seed": run.seed,
        "optimizer": type(run.learner.optimizer).__name__,
        **run.stretches.settings,
        **settings,
    }


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
            "progress": run.progress.to_dict(),
            "model": _tensors(run),
            "optimizer": learner.optimizer.state_dict(),
            "scheduler": None if learner.scheduler is None else learner.scheduler.state_dict(),
            "chains": chains,
            "chains_snapshot": snapshot,
            "average": vars(learner.average),
            "travel": learner.travel.to_dict(),
            "score_test": learner.score_test.to_dict(),
            "validation_chains": None if run.held_out is None else run.held_out.chains.to_dict(),
            "choices": run.chosen.to_dict(),
            "settings": run.settings,
            "stretches": run.stretches.to_dict(),
            "probes": Probes.of(run.potential, run.chains.at(slice(NUM_ROWS))[:, 0])._asdict(),
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
    device = run.potential.data.device
    check_settings(path, content["settings"], content["model"], run.settings)
    run.settings = content["settings"]
    given = {name: value.clone() for name, value in _tensors(run).items()}
    _put(run, content["model"])
    try:
        check_probes(path, content["probes"], run.potential)
    except ValueError:
        _put(run, given)
        raise
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
    learner.travel.take_back(content["travel"], device)
    learner.score_test.take_back(content["score_test"], device)
    run.progress = Progress.from_dict(content["progress"])
    run.stretches.take_back(content["stretches"])
    run.potential = run.chosen.resumed(content["choices"], run.potential)


def _put(run: FitRun, values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in _tensors(run).items():
            value.copy_(values[name])


def _tensors(run: FitRun) -> dict[str, Tensor]:
    return learned_tensors(run.potential.model, run.learner.parameters)
