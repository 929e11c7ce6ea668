"""Faces, what is known of each, and on what settings are chosen."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from explainaway.projected_factors import Projected

from .basis import CosineBasis

SCALE = 0.5
"""Of the entries of the projections."""

HELD_OUT_SHARE = 0.1
"""Of a validation face's projections that no method sees."""


class Part(NamedTuple):
    """Some faces, those of a matrix together.

    Attributes
    ----------
    faces : Tensor, (n, 3, side, side)
        Complete, in [-1, 1]: for the scores.
    places : list of Tensor
        For each matrix the places of its faces.
    data : list of Projected
        For each matrix what may be seen of these.
    held_out : list of Projected
        For each matrix what nobody sees, in validation faces.
    """

    faces: Tensor
    places: list[Tensor]
    data: list[Projected]
    held_out: list[Projected]

    def gathered(self, made: Callable[[int], Tensor]) -> Tensor:
        """Return what is made of the faces of each matrix, (n, ...), in the faces' order."""
        found = [made(group) for group in range(len(self.data))]
        return torch.cat(found)[torch.cat(self.places).argsort()]


class Problem(NamedTuple):
    """Faces that are known by projections, in a cosine basis.

    Attributes
    ----------
    basis : CosineBasis
        In which signals are.
    train : list of Projected
        What is learned from: validation faces by what may be seen of them.
    known, validation, new : Part
        Training faces that are scored (T1), those with held-out projections, new faces (T2).
    complete : Tensor, (n, 3 side side)
        All training faces' coefficients, for T3 alone.
    """

    basis: CosineBasis
    train: list[Projected]
    known: Part
    validation: Part
    new: Part
    complete: Tensor


def problem(
    images: Tensor, sizes: Sequence[int], num_projections: int, num_matrices: int, seed: int
) -> Problem:
    """Project faces by normal random vectors; a face has one of several matrices, in turn.

    Parameters
    ----------
    images : Tensor, (n, 3, side, side)
        In [-1, 1].
    sizes : sequence of int
        Numbers of training faces, of those among them with held-out projections, of training
        faces that are scored, of new ones.
    num_projections : int
        Of each face.
    num_matrices : int
        How many there are.
    seed : int
        Of faces and projections.
    """
    train, validation, known, new = sizes
    if len(images) < train + new:
        raise ValueError(f"{train} + {new} images are asked for, there are {len(images)}")
    order = np.random.default_rng(seed).permutation(len(images))[: train + new]
    faces = images[torch.from_numpy(order)]
    basis = CosineBasis(images.shape[-1])
    generator = torch.Generator().manual_seed(seed)
    shape = (num_projections, *images.shape[1:])
    matrices = [
        basis.coefficients(SCALE * torch.randn(shape, generator=generator))
        for _ in range(num_matrices)
    ]

    def part(some: Tensor, seen: int) -> Part:
        coefficients = basis.coefficients(some)
        places = [torch.arange(g, len(some), num_matrices) for g in range(num_matrices)]
        data, held_out = [], []
        for matrix, place in zip(matrices, places, strict=True):
            y = coefficients[place] @ matrix.mT
            data.append(Projected(matrix[:seen], y[:, :seen]))
            held_out.append(Projected(matrix[seen:], y[:, seen:]))
        return Part(some, places, data, held_out)

    seen = round(num_projections * (1 - HELD_OUT_SHARE))
    scored, rest = part(faces[:known], num_projections), faces[known : train - validation]
    held_out = part(faces[train - validation : train], seen)
    whole = part(faces[: train - validation], num_projections) if len(rest) else scored
    learned = [data for data in (*whole.data, *held_out.data) if len(data.y)]
    complete = basis.coefficients(faces[:train])
    return Problem(
        basis, learned, scored, held_out, part(faces[train:], num_projections), complete
    )


def held_out_error(part: Part, made: Tensor) -> float:
    """Return the root mean square error of a pixel over the range, by the held-out projections.

    A projection of the errors has SCALE² times the sum of their squares, in the mean.

    Parameters
    ----------
    part : Part
        With held-out projections.
    made : Tensor, (n, cells)
        Predicted coefficients.
    """
    squares, count = 0.0, 0
    for place, data in zip(part.places, part.held_out, strict=True):
        left = data.y - made[place] @ data.matrix.mT
        squares, count = squares + float(left.square().sum()), count + left.numel()
    return (squares / count / SCALE**2 / made.shape[1]) ** 0.5 / 2
