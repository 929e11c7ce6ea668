"""What a learning run records, and how far it has come."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from torch import Tensor

from ..diagnostics.described import as_html, shapes
from .held_out_score import HeldOutScore
from .horizon import Horizon
from .score_test import ScoreGain
from .travel import Gain


class StepRecord(NamedTuple):
    """What one iteration gives, each a scalar tensor.

    Attributes
    ----------
    loss : Tensor
        Mean of -log p(y, z) over the batch, nats per example: the objective of θ. Where the prior
        follows the chains, of the white latents.
    energy : Tensor
        Mean potential energy of the chains after the visit, nats per example.
    acceptance_rate : Tensor
        Mean over steps, chains and examples.
    step_size : Tensor
        Median over examples.
    num_diverging : Tensor
        Divergent proposals.
    """

    loss: Tensor
    energy: Tensor
    acceptance_rate: Tensor
    step_size: Tensor
    num_diverging: Tensor


@dataclass(frozen=True)
class Fit:
    """What :meth:`AlternatingBackProp.fit` returns.

    Attributes
    ----------
    latents : Tensor or dict of Tensor
        The last draw of each chain in constrained space: (n, ...), or (chains, n, ...) with
        several chains; a dict by site name where the model has several sites.
    history : dict of list of float
        One entry for each epoch: ``loss`` and ``energy`` (nats per example), ``acceptance_rate``,
        ``step_size`` (median), ``num_diverging``, ``num_proposals``, ``seconds`` (since the
        start), ``gain`` and ``score_gain``, each with its ``_error`` (docs/learning.md); where
        validation data were given, ``validation_energy``; where cells are held out,
        ``held_out_nats``, the negative log predictive density of a cell in the last window of
        epochs, its standard error ``held_out_error`` (NaN before the first window, and when all
        cells are learned from) and ``num_held_out``, how many cells the epoch did not learn from.
    averaged : dict of Tensor or None
        Mean of each parameter over the iterations since ``average_from``, by name.
    stopped : bool
        Whether the stop rule ended the run.
    seed : int
        What reproduces it.
    mean_signal : Tensor or None, (n, ...)
        Posterior mean of each example's signal (:meth:`GeneratorModel.decode`) over the visits of
        the last 40 % of the epochs, later ones weighing more, and all chains; None where no means
        were kept, or a stop rule ended the run before.
    filled : Tensor or None, (n, ...)
        Posterior mean of the completed data: observed cells as they are, hidden ones as
        :meth:`GeneratorModel.reconstruct` estimates them; None where that is a category.
    held_out : HeldOutScore or None
        How probable the held-out cells were before all cells were learned from:
        :func:`compare_fits` compares them.
    """

    latents: Any
    history: dict[str, list[float]]
    averaged: dict[str, Tensor] | None = None
    stopped: bool = False
    seed: int | None = None
    mean_signal: Tensor | None = None
    filled: Tensor | None = None
    held_out: HeldOutScore | None = None

    @property
    def gain(self) -> Gain | None:
        """By how much the loss would fall if learning went on; None in fewer than 8 epochs."""
        nats, error = (self.history[name][-1] for name in ("gain", "gain_error"))
        return Gain(nats, error) if math.isfinite(nats) else None

    @property
    def score_gain(self) -> ScoreGain | None:
        """What the loss's slope is worth at least; None in fewer than 8 epochs, and of networks."""
        found = ScoreGain(*(self.history[name][-1] for name in ("score_gain", "score_gain_error")))
        return found if math.isfinite(found.nats) else None

    @property
    def converged(self) -> bool | None:
        """Whether no further gain is seen (docs/learning.md); None where too little is known.

        Of the loss: where held-out cells have ended a run it may be False, and no warning is given.
        """
        seen = [gain.is_seen for gain in (self.gain, self.score_gain) if gain is not None]
        return not any(seen) if seen else None

    def to_frame(self) -> Any:
        """Return the history as a pandas data frame, a row for each epoch, counted from 1."""
        import pandas as pd

        frame = pd.DataFrame(self.history)
        frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
        return frame

    def __repr__(self) -> str:
        latents = self.latents if isinstance(self.latents, dict) else {"latents": self.latents}
        epochs = len(self.history.get("loss", []))
        lines = [f"Fit of {epochs} epochs" + (", ended by the stop rule" if self.stopped else "")]
        lines.append(f"  {shapes(latents)}")
        if epochs:
            last = [
                f"{name} {values[-1]:.4g}"
                for name, values in self.history.items()
                if values and name not in ("num_proposals", "num_held_out")
                if values[-1] == values[-1]
            ]
            lines.append("  last epoch: " + ", ".join(last))
        if self.held_out is not None:
            mean, error = self.held_out.per_cell()
            number = int(self.held_out.num_cells.sum())
            lines.append(f"  {number} held-out cells: {mean:.4g} ± {error:.2g} nats each")
        if self.mean_signal is not None:
            lines.append(f"  mean_signal {tuple(self.mean_signal.shape)}: posterior mean")
        if self.averaged is not None:
            lines.append(f"  averaged: {len(self.averaged)} parameters")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return as_html(self)


@dataclass
class Progress:
    """Where a run stands: what a checkpoint holds beside tensors."""

    epoch: int = 0
    batch: int = 0
    iteration: int = 0
    seconds: float = 0.0
    stopped: bool = False
    horizon: Horizon = field(default_factory=Horizon)
    sums: dict[str, float] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return {**vars(self), "horizon": list(self.horizon)}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "Progress":
        """Return the progress of :meth:`to_dict`."""
        return Progress(**{**content, "horizon": Horizon(*content["horizon"])})

    def plan(self, epochs: int | Literal["auto"], rate_falls: bool) -> None:
        """Set the end of a run that begins or goes on."""
        self.horizon = self.horizon.prolonged(self.epoch, epochs, rate_falls)

    def add(self, record: StepRecord, num_examples: int) -> None:
        """Add one batch to the epoch."""
        for name, value in zip(StepRecord._fields, record, strict=True):
            weight = 1 if name == "num_diverging" else num_examples
            self.sums[name] = self.sums.get(name, 0.0) + weight * float(value)
        self.batch += 1

    def close_epoch(self, num_examples: int, num_proposals: int) -> dict[str, float]:
        """Return the epoch's record, means over examples, and begin the next."""
        record = {
            name: total if name == "num_diverging" else total / num_examples
            for name, total in self.sums.items()
        }
        record["num_proposals"] = float(num_proposals)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, {}
        return record


def warn_of_divergences(history: Mapping[str, list[float]]) -> None:
    """Warn once if over one proposal in a hundred diverged."""
    diverging, total = sum(history["num_diverging"]), sum(history["num_proposals"])
    if diverging > 0.01 * total:
        warnings.warn(
            f"{int(diverging)} of {int(total)} proposals diverged while learning: if that share "
            'does not fall, take step_size="auto" or a smaller step_size, or lower the learning '
            "rate",
            stacklevel=3,
        )
