"""The way of a sampling run: chunk after chunk, and what its checkpoint holds."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ..kernels.base import Info
from ..kernels.capabilities import gradients_per_step
from ..potentials.threads import one_at_a_time
from ..potentials.trace import evaluation_mode
from ..speed import CompileChoice
from .checkpoint import load_checkpoint, moved, save_checkpoint
from .chunk_run import ChunkRun
from .draw_store import DrawStore, allocate, fill_samples
from .driver import drive
from .files import settle
from .outcome import Outcome
from .plan import Plan
from .probes import NUM_ROWS, Probes, check_probes, check_settings, settings_of

ENTRIES = ("finished", "run", "draws", "choices", "settings", "probes")


class Chunks:
    """The chunks of a plan as work for the driver.

    Parameters
    ----------
    plan : Plan
        What to do.
    store : DrawStore
        Where draws go.
    checkpoint : Path, optional
        The run goes on from it if it is there.

    Raises
    ------
    ValueError
        If the checkpoint is of other work.
    """

    unit = "step"

    def __init__(self, plan: Plan, store: DrawStore, checkpoint: Path | None) -> None:
        self.plan = plan
        self.store = store
        self._chunks = plan.chunks
        self._finished: list[Outcome] = []
        self._run: ChunkRun | None = None
        self._info: Info | None = None
        self._is_cut = False
        self._identity = {} if checkpoint is None else plan.identity()
        self._settings = {} if checkpoint is None else settings_of(plan.potential.model, {})
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)
        else:
            self._expect()
            self._run = self._next()

    @cached_property
    def _probes(self) -> Probes:
        return Probes.of(self.plan.potential, self.plan.start[:NUM_ROWS, 0])

    def _expect(self) -> None:
        number = self.num_iterations * gradients_per_step(self.plan.kernel)
        self.plan.potential.evaluator.expect({"energy": number, "parts": number})

    def _next(self) -> ChunkRun:
        examples = self._chunks[len(self._finished)]
        return ChunkRun(self.plan, examples, self.store.buffers(examples))

    @property
    def num_made(self) -> int:
        """Steps so far."""
        of_this_chunk = 0 if self.is_over or self._run is None else self._run.step
        return len(self._finished) * self.plan.num_steps + of_this_chunk

    @property
    def num_iterations(self) -> int:
        """Steps of all chunks."""
        return self.plan.num_steps * len(self._chunks)

    @property
    def is_over(self) -> bool:
        """Whether the last chunk is finished."""
        return len(self._finished) == len(self._chunks)

    @property
    def compile_choice(self) -> CompileChoice:
        """Of the plan."""
        return self.plan.chosen.compile

    def advance(self) -> None:
        """Make one step of the chunk's chains."""
        assert self._run is not None
        self._info = self._run.advance()

    def conclude(self, seconds: float) -> None:
        """Keep what a finished chunk leaves behind, and start the next."""
        run = self._run
        assert run is not None
        if run.step > self.plan.warmup_steps:
            run.seconds += seconds
        if run.is_over:
            self._finished.append(run.outcome())
            if not self.is_over:
                # One goes before the next comes: chunks are there to save memory.
                self._run = run = None
                self._run = self._next()

    def stage(self) -> str:
        """Return warmup or sampling, and which chunk."""
        made, num_chunks = self.num_made % self.plan.num_steps, len(self._chunks)
        stage = "warmup" if made < self.plan.warmup_steps and not self.is_over else "sampling"
        chunk = min(len(self._finished) + 1, num_chunks)
        return stage if num_chunks == 1 else f"{stage}, chunk {chunk} of {num_chunks}"

    def numbers(self) -> dict[str, str]:
        """Return acceptance rate, step size, divergences and r-hat of the chunk."""
        run, info = self._run, self._info
        if run is None or info is None:
            return {}
        shown = {
            "acceptance": f"{float(info.acceptance_rate.nanmean()):.2f}",
            "step": f"{float(run.state.step_size.median()):.3g}",
            "divergences": str(run.num_diverging),
        }
        worst = run.worst_rhat()
        return shown if worst is None else {**shown, "worst r-hat": f"{worst:.2f}"}

    def cut_short(self) -> bool:
        """End at the next draw, if all examples have draws that lie in memory."""
        drawn = self.num_made - self.plan.warmup_steps
        if self._run is None or len(self._chunks) > 1 or self.store.path is not None or drawn < 1:
            return False
        count = drawn // self.plan.thinning + 1
        self._run.plan = self.plan = replace(self.plan, num_samples=count)
        self._is_cut = True
        return True

    def how_to_go_on(self, checkpoint: Path | None) -> str:
        """Return what to tell who pressed Ctrl-C."""
        return f"stopped after step {self.num_made} of {self.num_iterations}; " + (
            "without checkpoint= the draws are lost"
            if checkpoint is None
            else f"everything is in {str(checkpoint)!r}: call again with it to go on"
        )

    def save(self, path: Path) -> None:
        """Write everything that going on takes; draws that lie in their own file stay there."""
        run = None if self.is_over else self._run
        draws: list[dict[str, Tensor]] = []
        if self.store.path is None:
            draws = [
                {name: value.clone() for name, value in self.store.buffers(chunk).items()}
                for chunk in self._chunks[: len(self._finished)]
            ]
            if run is not None:
                buffers = self.store.buffers(self._chunks[len(self._finished)])
                draws.append({k: v[:, : run.num_drawn].clone() for k, v in buffers.items()})
        save_checkpoint(
            path,
            {
                "kind": "a sampling run",
                "identity": self._identity,
                "finished": [outcome.to_dict() for outcome in self._finished],
                "run": None if run is None else run.to_dict(),
                "draws": draws,
                "choices": self.plan.chosen.to_dict(),
                "settings": self._settings,
                "probes": self._probes._asdict(),
            },
        )
        if self.store.path is not None:
            settle(self.store.path)

    def _resume(self, path: Path) -> None:
        content = load_checkpoint(path, "a sampling run", self._identity, ENTRIES)
        check_settings(path, content["settings"], {}, self._settings)
        check_probes(path, content["probes"], self.plan.potential)
        potential = self.plan.chosen.resumed(content["choices"], self.plan.potential)
        self.plan = replace(self.plan, potential=potential)
        self._expect()
        # A run may go on where it was not begun.
        device = self.plan.start.device
        self._finished = [Outcome.from_dict(moved(one, device)) for one in content["finished"]]
        if content["run"] is not None:
            self._run = self._next()
            self._run.restore(moved(content["run"], device))
        for chunk, values in zip(self._chunks, content["draws"], strict=False):
            for name, buffer in self.store.buffers(chunk).items():
                buffer[:, : values[name].shape[1]] = values[name]

    def outcome(self) -> Outcome:
        """Return what all chunks have left behind."""
        return Outcome.merged(self._finished)._replace(interrupted=self._is_cut)


@one_at_a_time
def sample(
    plan: Plan,
    draws_file: Path | None,
    checkpoint: Path | None,
    checkpoint_seconds: float,
    progress: bool,
) -> tuple[Plan, DrawStore, Outcome]:
    """Make the draws of a plan.

    Returns
    -------
    Plan
        The same; its potential with what a checkpoint's earlier part had chosen by timing.
    DrawStore
        The draws.
    Outcome
        What they leave behind.

    Raises
    ------
    ValueError
        If the checkpoint is of other work.
    KeyboardInterrupt
        After Ctrl-C, between two steps; the message says how to go on. If there is no checkpoint,
        but draws of all examples in memory, the outcome is ``interrupted`` instead.
    """
    c = plan.start.shape[1]
    plan.potential.evaluator.doubt()
    with evaluation_mode(plan.potential.model):
        one = plan.potential.rows(torch.arange(1, device=plan.start.device))
        store = allocate(
            plan.potential,
            one.unflatten(plan.start[:1, 0]),
            c,
            plan.num_samples,
            draws_file,
            unfinished=checkpoint is not None,
        )
        work = Chunks(plan, store, checkpoint)
        drive(work, checkpoint, checkpoint_seconds, progress)
        outcome = work.outcome()
        if outcome.interrupted:
            store = store.first(work.plan.num_samples)
        if not store.samples_are_views:
            fill_samples(store, work.plan.potential, plan.chunks)
    return work.plan, store, outcome
