"""Features of images by which samples are compared: nothing that would have to be downloaded."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn

Features = Callable[[Tensor], NDArray[np.float64]]

COUNT = 64


def by_pixels(images: Tensor) -> Features:
    """Return the scores of principal components of some images (n, 3, side, side)."""
    return _components(images, lambda made: made.flatten(1))


def by_random_network(images: Tensor, seed: int = 0) -> Features:
    """Return principal components of what convolutions with random filters respond.

    Two layers of 5 x 5 filters with rectifiers, their means over a 4 x 4 grid: edges and textures
    count, which principal components of pixels leave out.
    """
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 64, 5, 2, 2), nn.ReLU(), nn.Conv2d(64, 128, 5, 2, 2), nn.ReLU()
    )

    @torch.no_grad()
    def respond(made: Tensor) -> Tensor:
        parts = [nn.functional.adaptive_avg_pool2d(network(part), 4) for part in made.split(200)]
        return torch.cat(parts).flatten(1)

    return _components(images, respond)


def _components(images: Tensor, respond: Callable[[Tensor], Tensor]) -> Features:
    known = respond(images)
    pca = PCA(min(COUNT, len(known) - 1), random_state=0).fit(known.numpy())

    def features(made: Tensor) -> NDArray[np.float64]:
        found: NDArray[np.float64] = pca.transform(respond(made).numpy()).astype(np.float64)
        return found

    return features
