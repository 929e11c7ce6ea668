"""Videos of which a part is missing, filled by each method."""

import time

import numpy as np
import torch
from torch import Tensor

from explainaway.linear_dynamical_system import fit_linear_dynamical_system, interpolate_in_time

from .data import table_of, video_of
from .generator import Learned, Recipe, Start, joint, posterior_means, two_stage
from .kriging import with_residual
from .linear import PAPER, choose_for_recovery, choose_rank, iterative_pca
from .scores import Outcome


def recover(video: Tensor, seen: Tensor, recipe: Recipe, seed: int) -> Outcome:
    """Return each method's whole video, made from the cells (T, 3, h, w) that are seen.

    Where single pixels are hidden, kriging fills them so much better than anything that knows no
    neighbours that systems and generators learn from the video that it fills, and have the
    residual of what was seen kriged at the end.
    """
    y = torch.where(seen, video, torch.nan)
    frames = ~seen.flatten(1).any(1)
    mean = y.nanmean(0).expand(y.shape)
    kriged = with_residual(y, mean)
    made = {
        "mean frame": mean,
        "interpolation in time": video_of(interpolate_in_time(table_of(y)), y),
        "kriging": kriged,
    }
    learn_from = y if bool(frames.any()) else torch.where(seen, y, kriged)
    table = table_of(learn_from)
    apart = _apart(seen, frames, seed).numpy().reshape(table.shape)
    chosen = PAPER if recipe.as_paper else choose_for_recovery(table_of(y), apart)
    choice = {**chosen._asdict(), "epochs": recipe.epochs}
    if not bool(frames.any()):
        choice["rank"] = rank = choose_rank(table_of(y), apart)
        made["iterative PCA"] = video_of(iterative_pca(table_of(y), rank), y)
    alone = fit_linear_dynamical_system(table_of(y), chosen.dim, 8, chosen.prior_states)
    made["LDS, Kalman smoother"] = video_of(alone.impute(table_of(y)), y)
    system = alone
    if not bool(frames.any()):
        system = fit_linear_dynamical_system(table, chosen.dim, 4, chosen.prior_states)
    estimate = video_of(system.impute(table), y)
    made["LDS + kriging"] = with_residual(y, estimate)
    start = Start(system, y.shape[1:])
    states = start.latents(system.smooth(table).mean)
    minutes = {}
    for name, learn in (("two-stage", two_stage), ("joint", joint)):
        began = time.process_time()
        learned = learn(learn_from, start, states, chosen.prior_states, recipe, seed)
        signal = _signal(learned, learn_from, name, frames, recipe, seed)
        made[name], made[f"{name} + kriging"] = signal, with_residual(y, signal)
        minutes[name] = (time.process_time() - began) / 60
    return Outcome(made, choice, minutes)


def _apart(seen: Tensor, frames: Tensor, seed: int) -> Tensor:
    """Return a tenth of the pixels that are seen, or a fifth of the frames."""
    length, _, height, width = seen.shape
    if bool(frames.any()):
        inner = torch.arange(length)[~frames][1:-1]
        away = torch.zeros(length, dtype=torch.bool)
        away[inner[2::5]] = True
        return away[:, None, None, None].expand(seen.shape)
    # A stream of its own: the holes were drawn from the seed itself.
    rng = np.random.default_rng([seed, 1])
    drawn = torch.from_numpy(rng.random((length, 1, height, width)) < 0.1)
    return (drawn & seen).contiguous()


def _signal(
    learned: Learned, y: Tensor, name: str, frames: Tensor, recipe: Recipe, seed: int
) -> Tensor:
    """Return the mean of the signal: that of learning, but two stages saw no missing frame."""
    if name == "joint" or not bool(frames.any()):
        return learned.signal
    return posterior_means(learned, y[None], learned.latents[None], recipe, seed)[1][0]
