"""Faces with hidden pixels: which are learned from, and on which settings are chosen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from explainaway.data import blocks_observed, square_observed

HELD_OUT_SHARE = 0.1
"""Of the pixels of a validation face that small masks hide in addition."""


class Problem(NamedTuple):
    """Faces, what of them may be seen, and a scale on which all pixels are alike.

    The training faces come first, then new ones that are seen with their holes too, but not
    learned from. In the last training faces further pixels are hidden by holes of the same kind:
    settings and intervals come from these.

    Attributes
    ----------
    faces : Tensor, (n, 3, side, side)
        Complete, in [-1, 1].
    given : Tensor, (n, 1, side, side)
        True where a pixel may be seen by somebody.
    observed : Tensor, (n, 3, side, side)
        True where it is seen by the methods: not in the further holes.
    y : Tensor, (n, 3, side, side)
        The standardised faces: less the mean face, over each pixel's deviation; NaN where hidden.
    mean, deviation : Tensor, (3, side, side)
        Of the observed pixels of training faces and their mirror images, smoothed.
    distance : Tensor, (n, 1, side, side)
        To the nearest observed pixel, in pixels.
    train : slice
        Learned from.
    validation, known, new : slice
        Those with further holes; training faces that are scored (T1); new ones (T3).
    """

    faces: Tensor
    given: Tensor
    observed: Tensor
    y: Tensor
    mean: Tensor
    deviation: Tensor
    distance: Tensor
    train: slice
    validation: slice
    known: slice
    new: slice

    def image(self, standardised: Tensor) -> Tensor:
        """Return standardised images (..., 3, side, side) as faces."""
        return standardised * self.deviation + self.mean

    def hidden(self, part: slice) -> Tensor:
        """Return the cells (n, 3, side, side) of a part that predictions of it are scored on."""
        held_out = self.given & ~self.observed[:, :1]
        cells = held_out if part == self.validation else ~self.given
        return cells[part].expand(-1, 3, -1, -1)


def masks(kind: str, count: int, side: int, seed: list[int]) -> Tensor:
    """Return masks (count, 1, side, side), true where observed, of a kind such as P.7 or M30.

    P: 3x3 blocks until the share is hidden; M: one square of that side at 64 pixels.
    """
    if kind[0] == "P":
        made = blocks_observed(count, side, float(kind[1:]), seed)
    else:
        made = square_observed(count, side, round(int(kind[1:]) * side / 64), seed)
    return torch.from_numpy(made)[:, None]


def problem(
    images: Tensor, kind: str, sizes: Sequence[int], seed: int, standardised: bool = True
) -> Problem:
    """Hide pixels of images.

    Parameters
    ----------
    images : Tensor, (n, 3, side, side)
        All there are.
    kind : str
        P and a share that is hidden, M and a square's side.
    sizes : sequence of int
        Training faces; how many of them have further holes, and are scored; new faces.
    seed : int
        Of the choice of faces, and of the holes.
    standardised : bool, default True
        Whether each pixel has mean 0 and deviation 1; else the images are as they are.
    """
    train, validation, scored, new = sizes
    if validation + scored > train or train + new > len(images):
        raise ValueError(f"faces of sizes {sizes} are asked for, there are {len(images)}")
    order = np.random.default_rng(seed).permutation(len(images))[: train + new]
    faces = images[torch.from_numpy(order)].contiguous()
    side = faces.shape[-1]
    given = masks(kind, len(faces), side, [seed, 1])
    seen = given.clone()
    last = slice(train - validation, train)
    if kind[0] == "P":
        more = torch.from_numpy(blocks_observed(validation, side, HELD_OUT_SHARE, [seed, 2]))
        seen[last] &= more[:, None]
    else:
        seen[last] &= masks(kind, validation, side, [seed, 2])
    observed = seen.expand(-1, 3, -1, -1).contiguous()
    mean, deviation = torch.zeros(faces.shape[1:]), torch.ones(faces.shape[1:])
    if standardised:
        mean, deviation = _moments(faces[:train], observed[:train])
    y = torch.where(observed, (faces - mean) / deviation, torch.nan)
    distance = torch.stack([torch.from_numpy(distance_transform_edt(~m[0])) for m in seen.numpy()])
    return Problem(
        faces,
        given,
        observed,
        y,
        mean,
        deviation,
        distance[:, None],
        slice(0, train),
        last,
        slice(0, scored),
        slice(train, train + new),
    )


def _moments(faces: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smoothed mean and deviation of observed pixels, mirror images among them."""

    def both(sums: Tensor) -> Tensor:
        return sums + sums.flip(-1)

    def smooth(sums: Tensor, counts: Tensor, width: float) -> Tensor:
        above, below = (
            gaussian_filter(x.double().numpy(), (0, width, width)) for x in (sums, counts)
        )
        return torch.from_numpy(above / below).float()

    counts = both(observed.sum(0).float())
    mean = smooth(both((faces * observed).sum(0)), counts, 1.0)
    square = ((faces - mean).square() * observed).sum(0)
    mirrored = ((faces.flip(-1) - mean).square() * observed.flip(-1)).sum(0)
    return mean, smooth(square + mirrored, counts, 2.0).sqrt()


def error(problem: Problem, mean: Tensor) -> float:
    """Return the mean absolute error of standardised predictions on held-out pixels."""
    part = problem.validation
    miss = problem.image(mean).clamp(-1, 1) - problem.faces[part]
    return float(miss[problem.hidden(part)].abs().mean()) / 2
