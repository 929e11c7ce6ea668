"""Fits followed from epoch to epoch: gap, gain, the spread of latents, a scale that collapses."""

import warnings
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, Fit, LearningWarning
from explainaway.inference.runs.horizon import Horizon
from explainaway.models import Gaussian, GeneratorModel, Masked

from .held_out import HeldOut, predictive_log_density
from .held_out_problems import digits_learned_scale
from .known import KnownMaximum, Trial
from .linear_problems import ppca, small_noise
from .marginals import normal_prior

Numbers = dict[str, Any]
Look = Callable[[AlternatingBackProp, dict[str, float]], dict[str, float]]

DRAWS = 5
"""Epochs whose draws together are the predictive density of hidden cells, as of held-out ones."""


def how_long(smoke: bool) -> Numbers:
    """Follow the gap to the maximum, the gain and the loss of probabilistic PCA by the defaults."""
    problem = ppca()
    trial = problem.make(0, False)
    followed, fit = _followed(trial, _gap_of(problem), 3 if smoke else "auto")
    return {
        **followed,
        "converged": fit.converged,
        "error": problem.gap(trial.model).standard_error,
    }


def what_moves_slowly(smoke: bool) -> Numbers:
    """Follow the spread of the latents, in units of the prior, and the gap where noise is small."""
    problem = small_noise()
    gap_of = _gap_of(problem)

    def look(abp: AlternatingBackProp, record: dict[str, float]) -> dict[str, float]:
        return {**gap_of(abp, record), **_spread(abp)}

    found = {}
    for name, learn_prior in (("Normal(d)", False), ("Normal(d, learn=True)", True)):
        trial = problem.make(0, learn_prior)
        found[name], fit = _followed(trial, look, 3 if smoke else 200)
        found[name]["converged"] = fit.converged
    return found


def how_noisy(smoke: bool) -> Numbers:
    """Follow a learned scale and the nats of hidden pixels, with held-out cells and without."""
    problem = digits_learned_scale()
    runs = []
    for seed in range(1 if smoke else 2):
        for hold_out in ("auto", None):
            trial = problem.make(seed, False)
            followed, fit = _followed(
                trial, _hidden_cells(problem, trial), 3 if smoke else 100, seed, hold_out
            )
            (y,) = trial.args
            assert fit.filled is not None
            error = (fit.filled - problem.whole)[y.isnan()].square().mean().sqrt()
            runs.append({"hold_out": hold_out, "seed": seed, "rmse": float(error), **followed})
    return {"runs": runs}


def _followed(
    trial: Trial,
    look: Look,
    epochs: int | Literal["auto"],
    seed: int = 0,
    hold_out: Literal["auto"] | None = "auto",
) -> tuple[Numbers, Fit]:
    """Learn, and return what was seen after every epoch beside the fit."""
    seen: dict[str, list[float]] = {}
    rates: list[float] = []

    def keep(abp: AlternatingBackProp, record: dict[str, float]) -> None:
        rates.append(abp.optimizer.param_groups[0]["lr"])
        for name, value in look(abp, record).items():
            seen.setdefault(name, []).append(value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LearningWarning)
        fit = AlternatingBackProp(trial.model).fit(
            *trial.args,
            epochs=epochs,
            seed=seed,
            hold_out=hold_out,
            callbacks=[keep],
            progress=False,
        )
    kept = ("loss", "gain", "gain_error", "held_out_nats", "held_out_error", "num_held_out")
    history = {name: fit.history[name] for name in kept if name in fit.history}
    return {**history, **seen, "falls_from": falls_from(rates)}, fit


def falls_from(rates: list[float]) -> int:
    """Return how many epochs ended before the rate fell faster than with the root of time."""
    slow = Horizon()
    for epoch in range(1, len(rates)):
        if rates[epoch] / rates[epoch - 1] < slow.rate(epoch) / slow.rate(epoch - 1):
            return epoch
    return len(rates)


def _gap_of(problem: KnownMaximum) -> Look:
    return lambda abp, record: {"gap": problem.gap(abp.model).nats}


def _spread(abp: AlternatingBackProp) -> dict[str, float]:
    """Return standard deviations of all chains' draws, whitened by the prior: rms, least, most."""
    assert abp.chains is not None
    assert isinstance(abp.model, GeneratorModel)
    mean, factor = normal_prior(abp.model)
    drawn = abp.chains.position[:, 0].double() - mean
    white = torch.linalg.solve_triangular(factor, drawn.mT, upper=False)
    along = torch.linalg.eigvalsh(torch.cov(white, correction=0)).sqrt()
    return {
        "spread": float(along.square().mean().sqrt()),
        "least_spread": float(along[0]),
        "most_spread": float(along[-1]),
    }


def _hidden_cells(problem: HeldOut, trial: Trial) -> Look:
    """Return what looks at the scale, and at hidden cells under the draws of the last epochs."""
    model = trial.model
    (y,) = trial.args
    hidden = y.isnan()
    drawn: deque[Tensor] = deque(maxlen=DRAWS)
    assert isinstance(model.observation, Masked)
    noise = model.observation.base
    assert isinstance(noise, Gaussian)

    def look(abp: AlternatingBackProp, record: dict[str, float]) -> dict[str, float]:
        assert abp.chains is not None
        scale = noise.scale.detach()
        with torch.no_grad():
            drawn.append(model.decode(abp.chains.position[:, 0]))
        density = predictive_log_density(problem.whole, torch.stack(list(drawn)), scale)
        return {"scale": float(scale), "hidden_nats": -float(density[hidden].mean())}

    return look
