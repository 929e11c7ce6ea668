"""Faces whose covariance is another one at each place: kriging by it, and a generator with it.

The generator is linear, ``y = sum over i, j of z_ij f_i t_j + noise`` for each colour: f_i are all
faces that it learns from, completed, t_j smooth windows, z_ij standard normal latents, so that each
place has a combination of faces of its own, which changes slowly over the image; the noise is
stationary. Its latents are integrated out: together the cells are normal with the sample's
covariance times that of the windows, plus the noise's, which is what is computed with.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from explainaway.gaussian_fields import GaussianField
from explainaway.kriging import stationary_noise
from explainaway.local_covariance import (
    learn_moments,
    localised,
    second_moments,
    stationary_matrix,
)

from .incomplete import Problem, error

STATIONARY_REACHES = (24, 48)
REACHES = (48, 96)
WEIGHTS = (0.8, 0.9, 0.95)
"""Of which those of covariances are chosen; reaches in pixels of an image of 64."""

ITERATIONS = 2


class Chosen(NamedTuple):
    """A covariance, and the errors on held-out pixels by which it was chosen."""

    covariance: Tensor
    setting: tuple[float, ...]
    errors: dict[str, float]


def stationary(problem: Problem) -> Chosen:
    """Return the covariance of the same lag everywhere, its reach chosen."""
    train = problem.train
    made: dict[tuple[float, ...], Tensor] = {}
    for reach in STATIONARY_REACHES:
        noise = stationary_noise(
            problem.y[train].nan_to_num(), problem.observed[train], _cells(problem, reach)
        )
        made[(float(reach),)] = stationary_matrix(noise)
    return _best(problem, made)


def kriged_locally(problem: Problem, filled: Tensor, covariance: Tensor) -> Chosen:
    """Return the covariance of the kriged training faces at each place.

    First its reach is chosen at the middle weight, then the weight.
    """
    moments = second_moments(filled[_learned_from(problem)])
    middle = WEIGHTS[len(WEIGHTS) // 2]
    first = _best(
        problem,
        {
            (reach, middle): _blended(problem, moments, covariance, reach, middle)
            for reach in REACHES
        },
    )
    reach = first.setting[0]
    then = _best(
        problem,
        {(reach, each): _blended(problem, moments, covariance, reach, each) for each in WEIGHTS},
    )
    return then._replace(errors={**first.errors, **then.errors})


def learned(
    problem: Problem, filled: Tensor, begun: Chosen, covariance: Tensor, path: Path
) -> Chosen:
    """Return the generator's covariance, learned from the kriged faces on.

    Reach and weight are those that were chosen for these.
    """
    part = _learned_from(problem)
    reach, weight = begun.setting
    if not path.exists():
        moments = learn_moments(
            problem.y[part],
            problem.observed[part][:, :1],
            covariance,
            _cells(problem, reach),
            weight,
            ITERATIONS,
            first=second_moments(filled[part]),
        )
        torch.save(moments, path)
    moments = torch.load(path, weights_only=True)
    return _best(problem, {begun.setting: _blended(problem, moments, covariance, reach, weight)})


def _blended(
    problem: Problem, moments: Tensor, covariance: Tensor, reach: float, weight: float
) -> Tensor:
    side = problem.faces.shape[-1]
    return localised(moments, covariance, side, _cells(problem, reach), weight)


def _learned_from(problem: Problem) -> slice:
    """Return the training faces without those on which settings are chosen."""
    return slice(problem.train.start, problem.validation.start)


def _cells(problem: Problem, reach: float) -> int:
    return round(reach * problem.faces.shape[-1] / 64)


def _best(problem: Problem, made: dict[tuple[float, ...], Tensor]) -> Chosen:
    part = problem.validation
    errors = {
        setting: error(
            problem,
            GaussianField(covariance).complete(problem.y[part], problem.observed[part][:, :1]),
        )
        for setting, covariance in made.items()
    }
    best = min(errors, key=errors.__getitem__)
    named = {" ".join(f"{x:g}" for x in setting): found for setting, found in errors.items()}
    return Chosen(made[best], best, named)
