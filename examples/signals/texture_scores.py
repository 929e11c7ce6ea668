"""What is said of a synthesised texture: its distance over that of two halves, what is copied."""

import torch
from torch import Tensor

from explainaway.texture_distance import TextureDistance, nearest_patches

COPIED = 0.1
"""A patch nearer to the exemplar than this (over its variance) counts as copied."""


class TextureScores:
    """Scores of images against one exemplar.

    Every image is cut into pieces of half an exemplar, each is compared with both halves; the
    distances are averaged and divided by that of the halves from each other. So 1 is as far as
    texture is from more of the same.

    Parameters
    ----------
    exemplar : Tensor, (3, side, side)
    """

    def __init__(self, exemplar: Tensor) -> None:
        self.exemplar, self.side = exemplar, exemplar.shape[1]
        # Of a small image fewer scales can be told.
        self.distance = TextureDistance(exemplar, scales=3 if self.side >= 224 else 1)
        self.halves = [self.distance.moments(piece) for piece in self._pieces(exemplar)]
        turned = [self.distance.moments(piece.mT) for piece in self._pieces(exemplar.mT)]
        apart = [self.distance.between(*halves) for halves in (self.halves, turned)]
        self.floor = torch.stack(apart).mean(0)

    def __call__(self, image: Tensor) -> dict[str, float | list[float]]:
        """Return the scores of an image (3, h, w) of at least the exemplar's size."""
        apart = [
            self.distance.between(self.distance.moments(piece), half)
            for piece in self._pieces(image)
            for half in self.halves
        ]
        ratios = torch.stack(apart).mean(0) / self.floor
        return {
            "distance": float(ratios.log().mean().exp()),
            "by scale": ratios.tolist(),
            **self._copied(image, self.exemplar),
        }

    def of_halves(self) -> dict[str, float | list[float]]:
        """Return the scores of the exemplar's halves against each other."""
        left, right = self._pieces(self.exemplar)
        return {"distance": 1.0, "by scale": [1.0] * len(self.floor), **self._copied(left, right)}

    def _copied(self, image: Tensor, exemplar: Tensor) -> dict[str, float | list[float]]:
        nearest = nearest_patches(image, exemplar, side=self.side // 9)
        return {
            "nearest patch": float(nearest.median()),
            "copied": float((nearest < COPIED).float().mean()),
        }

    def _pieces(self, image: Tensor) -> list[Tensor]:
        height, width = self.side, self.side // 2
        return [
            image[:, top : top + height, left : left + width]
            for top in range(0, image.shape[1] - height + 1, height)
            for left in range(0, image.shape[2] - width + 1, width)
        ]
