"""The way of a fit: epoch after epoch of minibatches, and what happens at an epoch's end."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..kernels.base import Kernel
from ..potentials.checks import needs_several
from ..potentials.data import ExampleData
from ..potentials.potential import Potential
from ..speed import CompileChoice
from .fit_checkpoint import save_fit
from .fit_record import StepRecord
from .fit_run import FitRun
from .horizon import MOST_EPOCHS, SLOW_SHARE

StopRule = Callable[[Mapping[str, Sequence[float]]], bool]


@dataclass(kw_only=True)
class Epochs:
    """The epochs of a fit as work for the driver.

    Attributes
    ----------
    run : FitRun
        The fit; it may have come some way already.
    examples : ExampleData
        All that are learned from.
    rate_falls : bool
        Whether the learning rate falls towards the end.
    batch_size : int
        Examples of a batch.
    num_steps : int
        Kernel steps of each chain at a visit.
    kernel : Kernel
        Moves the chains of held-out examples.
    average_from : int, optional
        Epoch from which θ is averaged.
    step : callable
        One iteration, on a batch and its indices.
    tell : callable
        Told each epoch's record.
    stop : callable, optional
        From the history to whether to stop.
    identity : mapping
        What a checkpoint must agree with.
    """

    run: FitRun
    examples: ExampleData
    rate_falls: bool
    batch_size: int
    num_steps: int
    kernel: Kernel[Any]
    average_from: int | None
    step: Callable[[ExampleData, Tensor], StepRecord]
    tell: Callable[[dict[str, float]], None]
    stop: StopRule | None
    identity: Mapping[str, Any]
    unit: str = field(default="batch", init=False)
    _batches: Sequence[Tensor] = field(init=False)
    _made: tuple[StepRecord, int] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._batches = self._of_epoch(self.run.progress.epoch)

    def _of_epoch(self, epoch: int) -> Sequence[Tensor]:
        order = epoch_order(self.examples.num_examples, self.run.seed, epoch)
        order = order.to(self.examples.device)
        batches = list(order.split(self.batch_size))
        if self.run.joins_last and len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    @property
    def num_made(self) -> int:
        """Batches so far."""
        return self.run.progress.epoch * len(self._batches) + self.run.progress.batch

    @property
    def num_iterations(self) -> int:
        """Batches of all epochs, of those planned by now where their number is to be found."""
        epochs = self.run.progress.horizon.epochs
        if epochs is None:
            # It ends at a window's end at the earliest.
            epochs = math.ceil(self.run.learner.travel.end / SLOW_SHARE)
        return epochs * len(self._batches)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are made, or the stop rule has ended them."""
        progress = self.run.progress
        return progress.stopped or progress.epoch >= (
            self.run.progress.horizon.epochs or MOST_EPOCHS
        )

    @property
    def compile_choice(self) -> CompileChoice:
        """Of the run."""
        return self.run.chosen.compile

    def advance(self) -> None:
        """Make the iteration of the next batch."""
        progress = self.run.progress
        begun = self.average_from is not None and progress.epoch >= self.average_from
        self.run.learner.averages = begun
        if self.rate_falls:
            time = progress.epoch + progress.batch / len(self._batches)
            self.run.learner.set_rate(self.run.progress.horizon.rate(time))
        index = self._batches[progress.batch]
        self._made = self.step(self.run.stretches.data.select(index), index), len(index)

    def conclude(self, seconds: float) -> None:
        """Keep the batch's record; after the last one, end the epoch."""
        began, progress = time.monotonic(), self.run.progress
        assert self._made is not None
        progress.add(*self._made)
        record = self._end_of_epoch() if progress.batch == len(self._batches) else None
        progress.seconds += seconds + time.monotonic() - began
        if record is not None:
            record["seconds"] = progress.seconds
            for name, value in record.items():
                progress.history.setdefault(name, []).append(value)
            self.tell(record)
            self._look_for_parameters()
            progress.stopped = self.stop is not None and self.stop(progress.history)

    def _look_for_parameters(self) -> None:
        """Let the learner see what a callback has set free."""
        run = self.run
        first = run.chains.at(slice(run.potential.num_examples))[:, 0]
        run.learner.look(run.potential, first)

    def _end_of_epoch(self) -> dict[str, float]:
        n, run = self.examples.num_examples, self.run
        record = run.progress.close_epoch(n, n * run.chains.num_chains * self.num_steps)
        self._batches = self._of_epoch(run.progress.epoch)
        if run.held_out is not None:
            record["validation_energy"] = run.held_out.visited(
                run.potential, self.kernel, self.num_steps, self.batch_size, run.seed + 1
            )
        run.learner.end_epoch(record.get("validation_energy", record["loss"]))
        self._look_where_it_goes(record)
        return record

    def _look_where_it_goes(self, record: dict[str, float]) -> None:
        """Take θ's way into the record, and find the end where it is to be found."""
        run, progress, learner = self.run, self.run.progress, self.run.learner
        falls = self.rate_falls and progress.epoch > progress.horizon.before_fall
        learner.travel.end_epoch(learner.leaves, not falls)
        record.update(learner.travel.record())
        learner.score_test.end_epoch()
        record.update(learner.score_test.record())
        record.update(run.stretches.look(run.potential, run.chains, learner))
        overfits = self.rate_falls and run.stretches.wants_to_end
        gains_nothing = run.stretches.gains_nothing
        horizon = progress.horizon.after(progress.epoch, learner.travel, overfits, gains_nothing)
        progress.horizon = horizon
        run.stretches.turn(progress.epoch, horizon, run.potential, run.chains, learner)

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        save_fit(self.run, path, self.identity)

    def stage(self) -> str:
        """Return the one thing that is done."""
        return "learning"

    def numbers(self) -> dict[str, str]:
        """Return loss, acceptance rate and step size of the last epoch."""
        last = {name: values[-1] for name, values in self.run.progress.history.items()}
        if not last:
            return {}
        return {
            "loss": f"{last['loss']:.3f}",
            "acceptance": f"{last['acceptance_rate']:.2f}",
            "step": f"{last['step_size']:.3g}",
        }

    def cut_short(self) -> bool:
        """Return False: a fit has done what it did to the model's parameters anyway."""
        return False

    def how_to_go_on(self, checkpoint: Path | None) -> str:
        """Return what to tell who pressed Ctrl-C."""
        epochs = self.run.progress.horizon.epochs or f"at most {MOST_EPOCHS}"
        return f"stopped in epoch {self.run.progress.epoch + 1} of {epochs}; " + (
            "the parameters stay as they are, but without checkpoint= the chains and the "
            "optimizer's state are lost"
            if checkpoint is None
            else f"everything is in {str(checkpoint)!r}: call fit again with it to go on"
        )


def epoch_order(num_examples: int, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch's examples, a function of the seed and the epoch alone."""
    generator = torch.Generator().manual_seed((seed * 2_654_435_761 + epoch) % 2**63)
    return torch.randperm(num_examples, generator=generator)


def must_join_last(
    potential: Potential, position: Tensor, num_chains: int, batch_size: int, num_examples: int
) -> bool:
    """Return whether a last batch of one example must join the one before it.

    Raises
    ------
    ValueError
        If every batch is of one example, which batch normalisation cannot learn from.
    """
    size = min(batch_size, num_examples)
    if num_examples % size != (0 if size == 1 else 1):
        return False
    needed = needs_several(potential, position, num_chains)
    if needed and size == 1:
        raise ValueError(
            f"batch_size must be at least 2, got {batch_size} for {num_examples} examples: batch "
            "normalisation in training mode needs several values of each channel"
        )
    return needed
