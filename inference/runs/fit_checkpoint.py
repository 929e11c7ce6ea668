"""What a learning run keeps in its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..potentials.potential import dtype_and_device
from ..potentials.trace import Model
from .averaging import ParameterAverage
from .chains import Chains
from .checkpoint import load_checkpoint, save_checkpoint
from .fit_record import Progress
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
)


class FitState(NamedTuple):
    """Everything of a learning run that changes, beside its :class:`Progress`.

    Attributes
    ----------
    model : callable
        An ``nn.Module``'s buffers are kept too.
    parameters : dict of Tensor
        θ by name.
    optimizer, scheduler
        Of θ.
    chains : Chains
        Of all examples.
    chains_file : Path or None
        Where their positions lie, if not in memory.
    average : ParameterAverage
        Of θ.
    validation_chains : Chains or None
        Of held-out examples.
    """

    model: Model
    parameters: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    chains: Chains
    chains_file: Path | None
    average: ParameterAverage
    validation_chains: Chains | None

    def _tensors(self) -> dict[str, Tensor]:
        state = {name: parameter.detach() for name, parameter in self.parameters.items()}
        if isinstance(self.model, nn.Module):
            state.update(self.model.state_dict())
        return state

    def save(self, path: Path, identity: Mapping[str, Any], run: Progress) -> None:
        """Write the checkpoint, and a copy of the chains' file beside it."""
        chains = self.chains.to_dict()
        snapshot = None
        if self.chains_file is not None:
            del chains["position"]
            snapshot = save_snapshot(self.chains_file, path, run.iteration)
        held_out = self.validation_chains
        save_checkpoint(
            path,
            {
                "kind": "a fit",
                "identity": dict(identity),
                "progress": vars(run),
                "model": self._tensors(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
                "chains": chains,
                "chains_snapshot": snapshot,
                "average": vars(self.average),
                "validation_chains": None if held_out is None else held_out.to_dict(),
            },
        )
        if snapshot is not None:
            drop_snapshots(path, but=snapshot)

    def resume(self, path: Path, identity: Mapping[str, Any]) -> Progress:
        """Put everything back as it was and return where the run stood.

        Raises
        ------
        ValueError
            If the checkpoint is of other work or cannot be read.
        """
        content = load_checkpoint(path, "a fit", identity, ENTRIES)
        device = dtype_and_device(self.model)[1]
        with torch.no_grad():
            for name, value in self._tensors().items():
                value.copy_(content["model"][name])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(content["scheduler"])
        if self.chains_file is not None:
            restore_snapshot(path, content["chains_snapshot"], self.chains_file)
        for chains, kept in (
            (self.chains, content["chains"]),
            (self.validation_chains, content["validation_chains"]),
        ):
            for name, value in (kept or {}).items() if chains is not None else ():
                setattr(chains, name, value.to(device))
        self.average.mean = {k: v.to(device) for k, v in content["average"]["mean"].items()}
        self.average.count = content["average"]["count"]
        return Progress(**content["progress"])
