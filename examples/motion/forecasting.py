"""The frames that follow, forecast by each method from rolling origins."""

import time

import numpy as np
import torch
from torch import Tensor

from explainaway.linear_dynamical_system import LinearDynamicalSystem, fit_linear_dynamical_system

from .data import num_known, table_of, video_of
from .generator import Recipe, Start, continued, joint, posterior_means, two_stage
from .kriging import ahead_with_residual, with_drawn_residual
from .linear import (
    PAPER,
    Forecaster,
    autoregression,
    choose_for_forecast,
    num_before,
    of_system,
    shrunk_last,
)
from .scores import Outcome

AHEAD = 10
"""Frames that are forecast."""

MEMORY = 6
"""Frames before an origin that tell the latents and the residual."""


def targets(video: Tensor) -> Tensor:
    """Return the frames after each origin, (origins, AHEAD, 3, h, w)."""
    first = num_known(len(video))
    return torch.stack([video[now : now + AHEAD] for now in range(first, len(video) - AHEAD + 1)])


def forecast(video: Tensor, recipe: Recipe, seed: int) -> Outcome:
    """Return each method's forecasts of :func:`targets`.

    Everything is learned from the first frames; before each origin the frames up to it are seen.
    """
    first = num_known(len(video))
    past, known, table = video[:first], table_of(video[:first]), table_of(video)
    origins = range(first, len(video) - AHEAD + 1)

    def rolled(forecaster: Forecaster) -> Tensor:
        return video_of(np.stack([forecaster(table[:now], AHEAD) for now in origins]), video)

    plain, chosen, regression, share = choose_for_forecast(known, AHEAD)
    if recipe.as_paper:
        chosen = PAPER
    mean = known.mean(0)
    doretto = fit_linear_dynamical_system(known, plain, 0)
    system = fit_linear_dynamical_system(known, chosen.dim, 0, chosen.prior_states)
    windows = torch.stack([video[now - MEMORY : now] for now in origins])

    # Frames that a system was fitted to leave residuals smaller and less alike than others do.
    apart = num_before(first, AHEAD)
    earlier = fit_linear_dynamical_system(known[:apart], chosen.dim, 0, chosen.prior_states)
    unseen = past[apart:] - video_of(earlier.impute(known[apart:]), video)

    def kriged(now: Tensor, ahead: Tensor) -> Tensor:
        return ahead_with_residual(unseen, windows - now, ahead)

    average = video_of(mean, video)
    made = {
        "mean frame": rolled(shrunk_last(mean, 0.0)),
        "last frame": rolled(shrunk_last(mean, 1.0)),
        "last frame, shrunk": rolled(shrunk_last(mean, share)),
        "LDS (Doretto)": rolled(of_system(doretto, MEMORY)),
        "LDS, shrunk": rolled(of_system(system, MEMORY)),
        "ridge autoregression": rolled(autoregression(known, *regression, AHEAD)),
    }
    made["kriging"] = ahead_with_residual(past - average, windows - average, made["mean frame"])
    states = np.stack([system.filter(table[now - MEMORY : now]).mean for now in origins])
    made["LDS, shrunk + kriging"] = kriged(
        video_of(system.decode(states), video), made["LDS, shrunk"]
    )
    start = Start(system, video.shape[1:])
    begin, latents = start.latents(system.smooth(known).mean), start.latents(states)
    new, minutes = {"LDS (Doretto)": _synthesised(doretto, past, seed)}, {}
    for name, learn in (("two-stage", two_stage), ("joint", joint)):
        began = time.process_time()
        learned = learn(past, start, begin, chosen.prior_states, recipe, seed)
        means, now = posterior_means(learned, windows, latents, recipe, seed)
        made[name] = continued(learned, means[:, -1], AHEAD)
        made[f"{name} + kriging"] = kriged(now, made[name])
        new[name] = learned.model.generate(1, seed=seed)[0]
        new[f"{name} + residual"] = with_drawn_residual(past, learned.signal, new[name], seed)
        minutes[name] = (time.process_time() - began) / 60
    choice = {
        **chosen._asdict(),
        "Doretto's dim": plain,
        "regression's dim, order, penalty": regression,
        "share of the last frame": share,
        "epochs": recipe.epochs,
    }
    return Outcome(made, choice, minutes, new)


def _synthesised(
    system: LinearDynamicalSystem, past: Tensor, seed: int, burn_in: int = 15
) -> Tensor:
    """Return as many new frames, after some that are thrown away."""
    rng, dim = np.random.default_rng(seed), len(system.start)
    root = np.linalg.cholesky(system.innovation)
    states = [rng.multivariate_normal(np.zeros(dim), system.start)]
    for _ in range(burn_in + len(past) - 1):
        states.append(system.transition @ states[-1] + root @ rng.normal(size=dim))
    return video_of(system.decode(np.stack(states[burn_in:])), past)
