"""What is not known of a hidden pixel, by its distance from the observed ones."""

import torch
from torch import Tensor

from faces.scores import Reconstruction, Scores, scores

from .problem import Problem

EDGES = (1.5, 2.5, 4.5, 7.5, 11.5)
"""Of the classes of distances, in pixels."""


def validated(
    problem: Problem, part: slice, mean: Tensor, deviation: Tensor, held_out: Reconstruction
) -> Scores:
    """Score standardised predictions of a part's hidden pixels.

    Parameters
    ----------
    problem : Problem
        The faces.
    part : slice
        Those that are scored.
    mean, deviation : Tensor, (n, 3, side, side)
        Standardised predictions, without the noise that is added here.
    held_out : Reconstruction
        The same of the validation faces: their errors on pixels that were held out give the noise,
        a variance for each class of distances.
    """
    cells = problem.hidden(problem.validation)
    truth = (problem.faces - problem.mean) / problem.deviation
    excess = (truth[problem.validation] - held_out.mean).square() - held_out.deviation.square()
    classes = torch.bucketize(problem.distance, torch.tensor(EDGES).double()).expand(-1, 3, -1, -1)
    edges = classes[problem.validation][cells]
    total = torch.bincount(edges, excess[cells].double(), len(EDGES) + 1)
    count = torch.bincount(edges, minlength=len(EDGES) + 1)
    # Classes with hardly a cell have the mean of all.
    variance = torch.where(count > 100, total / count.clamp(min=1), total.sum() / count.sum())
    noise = variance.clamp(min=1e-3).sqrt().float()[classes[part]]
    made = Reconstruction(problem.image(mean).clamp(-1, 1), deviation * problem.deviation)
    return scores(
        problem.faces[part], made, noise * problem.deviation, cells=problem.hidden(part)
    )


def error(problem: Problem, mean: Tensor) -> float:
    """Return the mean absolute error of standardised predictions on held-out pixels."""
    part = problem.validation
    miss = problem.image(mean).clamp(-1, 1) - problem.faces[part]
    return float(miss[problem.hidden(part)].abs().mean()) / 2
