"""Features of images by which samples are compared: nothing that would have to be downloaded."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn

from explainaway.sample_quality import sample_quality

Features = Callable[[Tensor], NDArray[np.float64]]

COUNT = 64


class Resemblance:
    """How near new images are to others, by pixels and by a network with random filters.

    Parameters
    ----------
    reference : Tensor, (n, 3, side, side)
        Images that nothing has learned from.
    """

    def __init__(self, reference: Tensor) -> None:
        self.measures = {
            label: (features, features(reference))
            for label, features in {
                "pixels": by_pixels(reference),
                "random network": by_random_network(reference),
            }.items()
        }

    def __call__(self, made: Tensor) -> dict[str, Any]:
        """Return what `explainaway.sample_quality` says of images in [-1, 1], by measure."""
        return {
            label: sample_quality(of_reference, features(made))._asdict()
            for label, (features, of_reference) in self.measures.items()
        }


def quality_cells(resemblance: Mapping[str, Any]) -> list[str]:
    """Return cells of a line of a table: 1000 MMD², precision, recall, density, coverage.

    They are by random features, and by principal components of pixels in parentheses.
    """
    by_random, by_pixels = resemblance["random network"], resemblance["pixels"]
    cells = [f"{1000 * by_random['mmd']:.1f} ({1000 * by_pixels['mmd']:.1f})"]
    for key in ("precision", "recall", "density", "coverage"):
        cells.append(f"{by_random[key]:.2f} ({by_pixels[key]:.2f})")
    return cells


def table_of_new_faces(head: str, drawn: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Return how near drawn faces (T2) are to faces that nothing has learned from.

    Parameters
    ----------
    head : str
        Of the first column.
    drawn : iterable of tuple
        What stands there, the method's name and what `Resemblance` found.
    """
    lines = [
        f"| {head} | | | MMD² x 1000 | precision | recall | density | coverage |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for first, name, resemblance in drawn:
        lines.append("| " + " | ".join([first, "T2", name, *quality_cells(resemblance)]) + " |")
    return "\n".join(lines)


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
