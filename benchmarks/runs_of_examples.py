"""The sampling runs that scripts make, and whether they are warned of rightly.

Of ``examples/`` those of ``own_pyro_model.py`` and ``compare_kernels.py``; of this folder that of
``incomplete_video.py``. Models and data are theirs, of seed 0, and so are kernels, warmup and
numbers of draws; the seeds of the chains vary. What is dear (faces, holes) is repeated less often
and by its best kernels.

A warning is held against a run of other chains, five times as long in warmup and draws.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyro
import torch
from pyro.infer.autoguide.initialization import init_to_value
from sklearn.datasets import load_digits
from torch import Tensor

from examples import own_pyro_model
from examples.kernels import measures, posteriors
from explainaway.inference import (
    HMC,
    AlternatingBackProp,
    Posterior,
    SamplingWarning,
    sample_posterior,
)
from explainaway.inference.diagnostics.summary import LARGEST_RHAT
from explainaway.inference.judged import what_is_read

from . import incomplete_video

ROOT = Path(__file__).resolve().parents[1]
LONGER = 5
"""Times as many draws in the run that tells whether chains had mixed."""

FEWEST = 1 / (LARGEST_RHAT**2 - 1)
"""Effective draws of a chain below which r-hat is expected above its limit."""

STANDARD_ERRORS = 5.0
"""Of a chain's mean, from that of the longer run, beyond which it had not arrived."""


class Kind(NamedTuple):
    """One sampling run of a script, to be repeated.

    Attributes
    ----------
    what : str
        Script, posterior and kernel.
    sample : callable
        Of a seed and of how many times its length.
    seeds : int
        How often it is repeated.
    """

    what: str
    sample: Callable[[int, int], Posterior]
    seeds: int


class Warned(NamedTuple):
    """Runs of one kind, those that warned, and those of them whose chains had not mixed."""

    what: str
    draws: int
    examples: int
    runs: int
    hits: int
    unmixed: int


def warned_of_examples(smoke: bool) -> Iterator[Warned]:
    """Yield how often runs of each kind warn, and how often rightly."""
    for kind in kinds(smoke):
        hits, unmixed, longer = 0, 0, None
        for seed in range(kind.seeds):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SamplingWarning)
                posterior = kind.sample(seed, 1)
            if warns(posterior):
                hits += 1
                if longer is None:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", SamplingWarning)
                        longer = kind.sample(1000, LONGER)
                unmixed += not had_mixed(posterior, longer)
        _, draws, examples = posterior.position.shape[:3]
        yield Warned(kind.what, draws, examples, kind.seeds, hits, unmixed)


def warns(posterior: Posterior) -> bool:
    """Return whether a user would have been warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SamplingWarning)
        posterior.warn()
    return any(issubclass(one.category, SamplingWarning) for one in caught)


def had_mixed(posterior: Posterior, longer: Posterior) -> bool:
    """Return whether the chains of every example that was named had mixed, by a longer run.

    They had not where the longer run names the example too, where by its effective draws a chain of
    the shorter one has too few for r-hat, or where a chain's mean of what is judged is off.
    """
    summary, of_longer = posterior.summary(), longer.summary()
    chains, draws = posterior.position.shape[:2]
    share = draws / longer.position.shape[1]
    for example in summary.untrusted:
        effective = of_longer.judged.ess[example] * share / chains
        if example in of_longer.untrusted or not effective >= FEWEST:
            return False
        values, truth = _judged(posterior, example), _judged(longer, example)
        mean, sd = truth.mean((0, 1)), truth.flatten(0, 1).std(0)
        off = (values.mean(1) - mean).abs() / sd * effective**0.5
        if bool((off > STANDARD_ERRORS).any()):
            return False
    return True


def _judged(posterior: Posterior, example: int) -> Tensor:
    """Return what the verdict is made on, of one example: (chains, some draws, q)."""
    some = slice(example, example + 1)
    given = (posterior.potential, posterior.samples, posterior.position, posterior.observed)
    _, read = what_is_read(*given)
    values = posterior.position[:, :, some] if read is None else read(some)
    return values[:, :, 0].double()


def kinds(smoke: bool) -> Iterator[Kind]:
    """Yield the kinds of sampling runs, their models learned."""
    seeds = 1 if smoke else 5
    yield Kind("own_pyro_model.py: HMC", _of_own_model(smoke), seeds)
    yield from _of_kernels(smoke)
    yield from _of_videos(smoke)


def _of_own_model(smoke: bool) -> Callable[[int, int], Posterior]:
    torch.manual_seed(0)
    pyro.clear_param_store()
    images = torch.tensor(load_digits().images, dtype=torch.float32).flatten(1)
    train, test = images[: 200 if smoke else 1437], images[1437:1477]
    AlternatingBackProp(own_pyro_model.ink_and_parts).fit(
        train, epochs=3 if smoke else 60, seed=0, progress=False
    )

    def sample(seed: int, times: int) -> Posterior:
        return sample_posterior(
            own_pyro_model.ink_and_parts,
            test,
            warmup_steps=times * (20 if smoke else 500),
            num_samples=times * (20 if smoke else 1000),
            seed=seed,
            progress=False,
        )

    return sample


def _of_kernels(smoke: bool) -> Iterator[Kind]:
    gradients, epochs, examples = (200, 2, 2) if smoke else (4000, 60, 20)
    seeds = 1 if smoke else 3
    folder = ROOT.parent / "shared" / "data"
    default, few = "HMC, by path length (default)", min(examples, 4)
    best = ("MALA, adapted mass", "HMC, 10 steps, adapted mass", default)
    cases: list[tuple[posteriors.Case, tuple[str, ...] | None, int]] = [
        (posteriors.linear_case(examples, 0), None, seeds),
        (posteriors.digits_case(examples, 0, epochs), None, seeds),
        (posteriors.holes_case(few, 0), best, 1),
    ]
    if not smoke:
        faces = posteriors.face_cases(folder, few, 0, epochs)
        cases += [(case, (default,), 1) for case in faces]
    for case, names, times in cases:
        for name in names or case.kernels:
            what = f"compare_kernels.py: {case.name}, {name}"
            of_case = partial(_draw, case, name, round(case.share * gradients))
            yield Kind(what, of_case, times)


def _draw(case: posteriors.Case, name: str, gradients: int, seed: int, times: int) -> Posterior:
    kernel, _ = posteriors.KERNELS[name]
    steps = times * measures.warmup_steps(name, gradients)
    return measures.draw(case, kernel, steps, times * gradients, seed)


def _of_videos(smoke: bool) -> Iterator[Kind]:
    options = argparse.Namespace(
        epochs=3 if smoke else 300,
        width=4 if smoke else 16,
        draws=3 if smoke else 60,
        noise=0.1,
        learning_rate=3e-3,
        seed=0,
    )
    folder = ROOT.parent / "shared" / "data"
    if not (smoke or (folder / "motion" / "flag.npz").is_file()):
        print("no video is there: incomplete_video.py is left out")
        return
    past = incomplete_video.load(folder, "flag", smoke)[: -incomplete_video.AHEAD]
    y = torch.where(incomplete_video.observed_cells(past, 0), past, torch.nan)
    missing = y.isnan().flatten(1).all(1)
    learned = {
        "two-stage": incomplete_video.learn_two_stage,
        "joint": incomplete_video.learn_jointly,
    }
    for name, learn in learned.items():
        model, latents = learn(y, options)
        start = incomplete_video.interpolated(torch.where(missing[:, None], torch.nan, latents))

        def sample(
            seed: int, times: int, model: torch.nn.Module = model, start: Tensor = start
        ) -> Posterior:
            return sample_posterior(
                model,
                y[None],
                kernel=HMC(10),
                num_chains=1,
                warmup_steps=times * options.draws,
                num_samples=times * options.draws,
                seed=seed,
                init_strategy=init_to_value(values={"z": start[None]}),
                progress=False,
            )

        yield Kind(f"incomplete_video.py: {name}, HMC of 10 steps", sample, 1 if smoke else 3)
