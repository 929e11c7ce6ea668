"""One run of learning, and the row that it gives."""

import hashlib
import time
import warnings
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

import explainaway.inference
import explainaway.models

from .candidates import Candidate
from .held_out import Budget, HeldOut
from .known import KnownMaximum

Row = dict[str, Any]

SMOKE_BUDGET = Budget(warmup=5, draws=2, thinning=1)


@cache
def code_digest() -> str:
    """Return eight digits that tell one version of the library's code from another."""
    digest = hashlib.sha256()
    for package in (explainaway.inference, explainaway.models):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def row_of(
    problem: KnownMaximum | HeldOut, candidate: Candidate, seed: int, smoke: bool = False
) -> Row:
    """Learn, and return what was reached.

    Parameters
    ----------
    problem : KnownMaximum or HeldOut
    candidate : Candidate
    seed : int
        Of the first parameters and of the run.
    smoke : bool, default False
        Two epochs.

    Raises
    ------
    NotAvailableError
        If the candidate does not fit the problem.
    """
    trial = problem.make(seed, candidate.learn_prior)
    if candidate.start is not None:
        candidate.start(trial)
    epochs = 2 if smoke else candidate.epochs
    loop = candidate.loop(trial.model, epochs)
    given = {**trial.kwargs, **candidate.fit}
    if epochs != "auto":
        given["epochs"] = epochs
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.monotonic()
        fit = loop.fit(*trial.args, seed=seed, progress=False, **given)
        seconds = time.monotonic() - began
    row: Row = {
        "problem": problem.name,
        "candidate": candidate.name,
        "seed": seed,
        "epochs": len(fit.history["loss"]),
        "seconds": round(seconds, 2),
        "gain": fit.gain,
        "score_gain": fit.score_gain,
        "converged": fit.converged,
        "warnings": sorted({str(one.message)[:120] for one in caught}),
        "torch": torch.__version__,
        "code": code_digest(),
    }
    with ExitStack() as stack:
        if candidate.half_averaged:
            stack.enter_context(loop.averaged())
        if isinstance(problem, KnownMaximum):
            gap = problem.gap(trial.model)
            return {**row, "gap": gap.nats, "standard_error": gap.standard_error}
        if smoke:
            problem = replace(problem, budget=SMOKE_BUDGET)
        (y,) = trial.args
        return {**row, **problem.score(trial.model, fit.latents, y)._asdict()}
