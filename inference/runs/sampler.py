"""Driving sampling runs: chunk after chunk, with a progress bar, a checkpoint and Ctrl-C."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..diagnostics.moments import Moments, moments_from_dict, moments_to_dict
from ..kernels.base import Info, Kernel
from ..potentials.potential import Potential
from ..potentials.trace import evaluation_mode, parameters_of
from ..speed import CapturingEvaluator
from ..speed.compile_choice import Compile, CompileChoice
from .checkpoint import fingerprint, load_checkpoint, save_checkpoint
from .draw_store import DrawStore
from .interrupt import deferred_interrupt
from .sampling_run import Accumulator, SamplingRun, Schedule


class Finished(NamedTuple):
    """What a chunk leaves behind beside its draws.

    Attributes
    ----------
    state : dict of Tensor
        The kernel's last state, (c, n, ...).
    tuning : dict of Tensor
        What warmup found, (n, ...).
    moments : dict of Moments
        What was accumulated.
    num_gradients : float
        Evaluations for each chain's draws, warmup not included.
    """

    state: dict[str, Tensor]
    tuning: dict[str, Tensor]
    moments: dict[str, Moments]
    num_gradients: float


@dataclass(frozen=True)
class Plan:
    """What is to be sampled.

    Attributes
    ----------
    potential : Potential
        Of all n examples.
    kernel : Kernel
        Moves the chains.
    schedule : Schedule
        Steps of each chunk.
    seed, first_step : int
        Key of the noise, and how many steps the chains have made before.
    start : Tensor, (n, c, d)
        Where chains start.
    chunk_size : int
        Most chains at once; an example's chains stay together.
    accumulate : mapping
        As in ``sample_posterior``.
    anneal : bool
        Whether the chains start at the prior and are led to the posterior.
    tuning : mapping of Tensor, optional
        What an earlier warmup found.
    state : mapping of Tensor, optional
        A kernel's state to go on from, (c, n, ...).
    moments : mapping of Moments, optional
        What has been accumulated before.
    compile : bool or "auto"
        As in ``sample_posterior``.
    """

    potential: Potential
    kernel: Kernel[Any]
    schedule: Schedule
    seed: int
    first_step: int
    start: Tensor
    chunk_size: int
    accumulate: Mapping[str, Accumulator]
    anneal: bool = False
    tuning: Mapping[str, Tensor] | None = None
    state: Mapping[str, Tensor] | None = None
    moments: Mapping[str, Moments] | None = None
    compile: Compile = False

    @property
    def chunks(self) -> list[slice]:
        """The examples of each chunk."""
        n, c = self.start.shape[:2]
        size = max(self.chunk_size // c, 1)
        return [slice(first, min(first + size, n)) for first in range(0, n, size)]

    def run(self, examples: slice, store: DrawStore) -> SamplingRun:
        """Return the run of a chunk, at its beginning."""
        n = self.start.shape[0]
        index = torch.arange(n, device=self.start.device)[examples]
        whole = len(index) == n
        run = SamplingRun(
            self.potential if whole else self.potential.rows(index),
            self.kernel,
            self.start[examples],
            self.schedule,
            self.seed,
            examples.start,
            self.first_step,
            store.buffers(examples),
            self.accumulate,
            self.anneal,
        )
        if self.tuning is not None:
            run.tune({k: v[examples] if len(v) == n else v for k, v in self.tuning.items()})
        if self.state is not None:
            run.restore_state({name: value[:, examples] for name, value in self.state.items()})
        if self.moments is not None:
            run.moments = {
                name: Moments(m.mean[examples], m.squares[examples], m.num_values)
                for name, m in self.moments.items()
            }
        return run

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        return {
            "model": parameters_fingerprint(self.potential),
            "data": fingerprint(self.potential.data.tensors()),
            "kernel": repr(self.kernel),
            "number of chains": self.start.shape[1],
            "schedule": list(self.schedule),
            "first step": self.first_step,
            "chunk size": self.chunk_size,
            "seed": self.seed,
            "start": fingerprint([self.start]),
            "accumulated": sorted(self.accumulate),
        }


def parameters_fingerprint(potential: Potential) -> str:
    """Return a digest of θ."""
    return fingerprint(list(parameters_of(potential.model, potential.data).values()))


class Outcome(NamedTuple):
    """What sampling leaves behind beside its draws, all chunks together.

    Attributes
    ----------
    state, tuning, moments
        As of :class:`Finished`, of all n examples.
    num_gradients : float
        Gradient evaluations of each chain for these draws, mean over examples.
    seconds : float
        Wall time of the draws, warmup not included.
    """

    state: dict[str, Tensor]
    tuning: dict[str, Tensor]
    moments: dict[str, Moments]
    num_gradients: float
    seconds: float


def sample(
    plan: Plan,
    store: DrawStore,
    checkpoint: Path | None,
    checkpoint_seconds: float,
    progress: bool,
) -> Outcome:
    """Fill the store by the plan.

    Raises
    ------
    ValueError
        If the checkpoint is of other work.
    KeyboardInterrupt
        After Ctrl-C, between two steps; the message says how to go on.
    """
    chunks, schedule = plan.chunks, plan.schedule
    finished: list[Finished] = []
    seconds = 0.0
    with evaluation_mode(plan.potential.model):
        identity = {} if checkpoint is None else plan.identity()
        run: SamplingRun | None = None
        if checkpoint is not None and checkpoint.exists():
            content = load_checkpoint(
                checkpoint, "a sampling run", identity, ("finished", "run", "draws", "seconds")
            )
            finished = [
                Finished(**{**one, "moments": moments_from_dict(one["moments"])})
                for one in content["finished"]
            ]
            seconds = content["seconds"]
            if len(finished) < len(chunks):
                run = plan.run(chunks[len(finished)], store)
                run.restore(content["run"])
            _restore_draws(store, content["draws"], chunks)
        total = schedule.num_steps * len(chunks)
        evaluator = plan.potential.evaluator
        assert isinstance(evaluator, CapturingEvaluator)
        compile_choice = CompileChoice(plan.compile, evaluator)
        done = schedule.num_steps * len(finished) + (0 if run is None else run.step)
        bar = tqdm(total=total, initial=done, unit="step", disable=not progress)
        with deferred_interrupt() as interrupt, bar:
            saved_at = shown_at = time.monotonic()
            while len(finished) < len(chunks):
                if run is None:
                    run = plan.run(chunks[len(finished)], store)
                while run.step < schedule.num_steps:
                    began = time.monotonic()
                    info = run.advance()
                    now = time.monotonic()
                    if run.step > schedule.warmup_steps:
                        seconds += now - began
                    left = (len(chunks) - len(finished)) * schedule.num_steps - run.step
                    compile_choice.after_iteration(now - began, left)
                    bar.update()
                    if progress and now - shown_at > 1:
                        bar.set_description(_stage(run, len(finished), len(chunks)), refresh=False)
                        bar.set_postfix(_postfix(run, info))
                        shown_at = now
                    due = now - saved_at >= checkpoint_seconds
                    if checkpoint is not None and (due or interrupt.requested):
                        _save(checkpoint, identity, store, chunks, finished, run, seconds)
                        saved_at = now
                    last = run.step == schedule.num_steps and len(finished) == len(chunks) - 1
                    if interrupt.requested and not last:
                        step = len(finished) * schedule.num_steps + run.step
                        raise KeyboardInterrupt(_how_to_go_on(checkpoint, step, total))
                finished.append(
                    Finished(run.state_by_chain(), run.tuning(), run.moments, run.num_gradients)
                )
                run = None
            if checkpoint is not None:
                _save(checkpoint, identity, store, chunks, finished, None, seconds)
    return _outcome(finished, chunks, seconds)


def _outcome(finished: list[Finished], chunks: list[slice], seconds: float) -> Outcome:
    sizes = [chunk.stop - chunk.start for chunk in chunks]
    first = finished[0]
    return Outcome(
        {name: torch.cat([f.state[name] for f in finished], 1) for name in first.state},
        {name: torch.cat([f.tuning[name] for f in finished]) for name in first.tuning},
        {
            name: Moments(
                torch.cat([f.moments[name].mean for f in finished]),
                torch.cat([f.moments[name].squares for f in finished]),
                moments.num_values,
            )
            if len(finished) > 1
            else moments
            for name, moments in first.moments.items()
        },
        sum(f.num_gradients * size for f, size in zip(finished, sizes, strict=True)) / sum(sizes),
        seconds,
    )


def _stage(run: SamplingRun, chunk: int, num_chunks: int) -> str:
    stage = "warmup" if run.step < run.schedule.warmup_steps else "sampling"
    return stage if num_chunks == 1 else f"{stage}, chunk {chunk + 1} of {num_chunks}"


def _postfix(run: SamplingRun, info: Info) -> dict[str, str]:
    shown = {
        "acceptance": f"{float(info.acceptance_rate.nanmean()):.2f}",
        "step": f"{float(run.state.step_size.median()):.3g}",
        "divergences": str(run.num_diverging),
    }
    worst = run.worst_rhat()
    return shown if worst is None else {**shown, "worst r-hat": f"{worst:.2f}"}


def _how_to_go_on(checkpoint: Path | None, step: int, total: int) -> str:
    return f"stopped after step {step} of {total}; " + (
        "without checkpoint= the draws are lost"
        if checkpoint is None
        else f"everything is in {str(checkpoint)!r}: call again with it to go on"
    )


def _save(
    path: Path,
    identity: Mapping[str, Any],
    store: DrawStore,
    chunks: list[slice],
    finished: list[Finished],
    run: SamplingRun | None,
    seconds: float,
) -> None:
    """Write everything that going on takes; draws that lie in a file of their own stay there."""
    draws: list[dict[str, Tensor]] = []
    if store.path is None:
        draws = [
            {name: value.clone() for name, value in store.buffers(chunk).items()}
            for chunk in chunks[: len(finished)]
        ]
        if run is not None:
            buffers = store.buffers(chunks[len(finished)])
            draws.append({k: v[:, : run.num_drawn].clone() for k, v in buffers.items()})
    save_checkpoint(
        path,
        {
            "kind": "a sampling run",
            "identity": dict(identity),
            "finished": [
                {**one._asdict(), "moments": moments_to_dict(one.moments)} for one in finished
            ],
            "run": None if run is None else run.to_dict(),
            "draws": draws,
            "seconds": seconds,
        },
    )


def _restore_draws(store: DrawStore, draws: list[dict[str, Tensor]], chunks: list[slice]) -> None:
    for chunk, values in zip(chunks, draws, strict=False):
        for name, buffer in store.buffers(chunk).items():
            buffer[:, : values[name].shape[1]] = values[name]
