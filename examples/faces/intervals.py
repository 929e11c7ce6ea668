"""What is not known of a hidden pixel, by its distance from the observed ones."""

from collections.abc import Sequence

import torch

from .incomplete import Problem
from .scores import LEVELS, Reconstruction, Scores, scores

EDGES = (1.5, 2.5, 4.5, 7.5, 11.5)
"""Of the classes of distances, in pixels."""


def predicted(
    problem: Problem, part: slice, made: Reconstruction, held_out: Reconstruction
) -> Reconstruction:
    """Return a part's faces as they are predicted, with the deviations of pixels.

    Parameters
    ----------
    problem : Problem
        The faces.
    part : slice
        Those that are predicted.
    made : Reconstruction
        Standardised predictions of them, without the noise that is added here.
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
    total = torch.hypot(made.deviation.expand_as(noise), noise)
    return Reconstruction(problem.image(made.mean).clamp(-1, 1), total * problem.deviation)


def widths(problem: Problem, held_out: Reconstruction) -> list[float]:
    """Return the half of each level's interval, in deviations, that holds its share held out.

    Errors of pixels have heavier tails than the normal distribution, and a higher peak.

    Parameters
    ----------
    problem : Problem
        The faces.
    held_out : Reconstruction
        What :func:`predicted` returns of the validation faces.
    """
    part = problem.validation
    off = ((problem.faces[part] - held_out.mean).abs() / held_out.deviation)[problem.hidden(part)]
    ranked = off.sort().values
    return [float(ranked[round(level * (len(ranked) - 1))]) for level in LEVELS]


def validated(problem: Problem, part: slice, made: Reconstruction, half: Sequence[float]) -> Scores:
    """Score what :func:`predicted` returns on the part's hidden pixels; see :func:`widths`."""
    return scores(problem.faces[part], made, 0.0, cells=problem.hidden(part), widths=half)
