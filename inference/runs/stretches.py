"""The two stretches of a fit: most of the way, cells held out; the last, on all cells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from ..potentials.data import ExampleData
from ..potentials.potential import Potential
from .chains import Chains
from .held_out_cells import (
    WINDOW,
    HeldOutCells,
    HoldOut,
    checked_hold_out,
    held_out_cells,
)
from .horizon import Horizon
from .learner import Learner
from .running_means import KeepMeans, RunningMeans, running_means

WINDOWS = 12
"""Windows of held-out densities that the first stretch has at least, where it has the epochs."""


@dataclass
class Stretches:
    """What a fit learns from in each stretch, and what it keeps of it.

    Attributes
    ----------
    examples : ExampleData
        All data.
    held_out : HeldOutCells, optional
        Cells that the first stretch does not learn from.
    means : RunningMeans, optional
        Posterior means over the last stretch.
    settings : mapping
        What a checkpoint must agree with.
    """

    examples: ExampleData
    held_out: HeldOutCells | None
    means: RunningMeans | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(
        potential: Potential,
        examples: ExampleData,
        chains: Chains,
        seed: int,
        epochs: int | Literal["auto"],
        hold_out: HoldOut,
        keep_means: KeepMeans,
        goes_on: bool = False,
    ) -> "Stretches":
        """Return the stretches of a fit of so many epochs, whose chains may go on from another's.

        Raises
        ------
        ValueError
            If the model cannot do what is asked for.
        """
        hold_out = checked_hold_out(hold_out)
        least = Horizon(None if epochs == "auto" else epochs).before_fall
        window = max(1, min(WINDOW, least // WINDOWS))
        model = potential.model
        allowed = chains.file is None and not goes_on and least > 0
        held_out = held_out_cells(model, examples, hold_out, seed, chains.ids, window, allowed)
        means = running_means(model, keep_means, chains)
        settings = {
            "hold out": hold_out,
            "held-out cells": None if held_out is None else held_out.split,
            "posterior means": keep_means,
        }
        return Stretches(examples, held_out, means, settings)

    @property
    def data(self) -> ExampleData:
        """What is learned from now."""
        return self.examples if self.held_out is None else self.held_out.data

    @property
    def wants_to_end(self) -> bool:
        """Whether held-out cells say that learning at the present rate should end."""
        return self.held_out is not None and self.held_out.wants_to_end

    @property
    def gains_nothing(self) -> bool:
        """Whether held-out cells are explained no better than before."""
        return self.held_out is not None and self.held_out.gains_nothing

    def look(self, potential: Potential, chains: Chains, learner: Learner) -> dict[str, float]:
        """Look at the held-out cells after an epoch; return what the history keeps of it."""
        if self.held_out is None:
            return {}
        return self.held_out.end_epoch(potential, chains, learner)

    def turn(
        self,
        epoch: int,
        horizon: Horizon,
        potential: Potential,
        chains: Chains,
        learner: Learner,
    ) -> None:
        """Learn from all cells where it is due; keep means while the rate falls.

        Parameters
        ----------
        epoch : int
            Epochs made.
        horizon : Horizon
            When they end, and when the rate falls.
        potential, chains, learner
            Of the fit.
        """
        held_out, means = self.held_out, self.means
        all_from = horizon.learns_all_from
        is_last = all_from is not None and epoch >= all_from
        if held_out is not None and not held_out.is_released and (is_last or self.wants_to_end):
            held_out.release(learner)
        if means is not None and horizon.epochs is not None and epoch > horizon.before_fall:
            if means.begun_at != horizon.before_fall:
                means.begin(horizon.before_fall)
            means.add(potential, chains, self.examples)

    def results(self) -> dict[str, Any]:
        """Return what the fit tells of it."""
        means: Mapping[str, Tensor] = {} if self.means is None else self.means.means
        return {
            "mean_signal": means.get("signal"),
            "filled": means.get("filled"),
            "held_out": None if self.held_out is None else self.held_out.score,
        }

    def close(self) -> None:
        """Leave the model as it was given."""
        if self.held_out is not None:
            self.held_out.close()

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "held_out": None if self.held_out is None else self.held_out.to_dict(),
            "means": None if self.means is None else self.means.to_dict(),
        }

    def take_back(self, content: Mapping[str, Any]) -> None:
        """Be again as in :meth:`to_dict`."""
        if self.held_out is not None:
            self.held_out.take_back(content["held_out"])
        if self.means is not None:
            self.means.take_back(content["means"], self.examples.device)
