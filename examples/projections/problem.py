"""Faces, what is known of each, and on what settings are chosen."""

import math
from collections.abc import Sequence
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


class Group(NamedTuple):
    """Faces of one matrix.

    Attributes
    ----------
    data : Projected
        What may be seen of them.
    faces : Tensor of int
        Their places among all faces.
    held_out : Projected
        What no method sees: no rows but of validation faces.
    """

    data: Projected
    faces: Tensor
    held_out: Projected


class Problem(NamedTuple):
    """Faces that are known by projections, in a cosine basis.

    Attributes
    ----------
    basis : CosineBasis
        In which signals are.
    faces : Tensor, (n, 3, side, side)
        Complete, in [-1, 1]: training faces, then new ones.
    train, validation, scored : list of Group
        What is learned from; those of them of which projections are held out; those that are
        scored, of which some are training faces (T1), others new (T3).
    num_train : int
        Number of training faces.
    """

    basis: CosineBasis
    faces: Tensor
    train: list[Group]
    validation: list[Group]
    scored: list[Group]
    num_train: int

    def parts(self) -> dict[str, Tensor]:
        """Return the places of the scored faces, by name of the part."""
        places = torch.cat([group.faces for group in self.scored]).sort().values
        known = places < self.num_train
        return {"known": places[known], "new": places[~known]}


def problem(
    images: Tensor, sizes: Sequence[int], num_projections: int, num_matrices: int, seed: int
) -> Problem:
    """Project faces by normal random vectors; a face has one of several matrices, in turn.

    Parameters
    ----------
    images : Tensor, (n, 3, side, side)
        In [-1, 1].
    sizes : sequence of int
        Numbers of training faces, of those among them with held-out projections, of other training
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
    coefficients = basis.coefficients(faces)
    generator = torch.Generator().manual_seed(seed)
    shape = (num_projections, *images.shape[1:])
    matrices = [
        basis.coefficients(SCALE * torch.randn(shape, generator=generator))
        for _ in range(num_matrices)
    ]

    def groups(some: Tensor, seen: int = num_projections) -> list[Group]:
        made = []
        for number, matrix in enumerate(matrices):
            mine = some[some % num_matrices == number]
            y = coefficients[mine] @ matrix.mT
            data, rest = (
                Projected(matrix[:seen], y[:, :seen]),
                Projected(matrix[seen:], y[:, seen:]),
            )
            if len(mine):
                made.append(Group(data, mine, rest))
        return made

    # Validation faces share as few matrices as can be: theirs are factorised apart.
    by_matrix = sorted(range(train), key=lambda face: (face % num_matrices, face))
    places = torch.tensor(by_matrix)
    others = places[: train - validation].sort().values
    scored = torch.cat([others[:known], torch.arange(train, train + new)])
    seen = round(num_projections * (1 - HELD_OUT_SHARE))
    held_out = groups(places[train - validation :], seen)
    return Problem(basis, faces, groups(others) + held_out, held_out, groups(scored), train)


def held_out_error(validation: Sequence[Group], made: Sequence[Tensor]) -> float:
    """Return the root mean square error of a pixel over the range, by the held-out projections.

    A projection of an error has SCALE² times the sum of its squares, in the mean.

    Parameters
    ----------
    validation : sequence of Group
        With held-out projections.
    made : sequence of Tensor, (n, cells)
        Predicted coefficients of each group.
    """
    left = torch.cat(
        [
            (group.held_out.y - some @ group.held_out.matrix.mT).flatten()
            for group, some in zip(validation, made, strict=True)
        ]
    )
    return math.sqrt(left.square().mean() / made[0].shape[1]) / SCALE / 2
