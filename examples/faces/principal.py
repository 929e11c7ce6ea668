"""Principal components: what a linear generator can do."""

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from .scores import Reconstruction


class Principal:
    """PCA of images, with its scores in units of their standard deviations.

    Parameters
    ----------
    images : Tensor, (n, ...)
        Learned from.
    rank : int
        Number of components, less than n.
    """

    def __init__(self, images: Tensor, rank: int) -> None:
        self.shape = images.shape[1:]
        self.pca = PCA(rank, random_state=0).fit(images.flatten(1).numpy())
        self.spread = np.sqrt(self.pca.explained_variance_)

    def scores(self, images: Tensor) -> Tensor:
        """Return the images' coordinates, (n, rank), of variance 1 in what was learned from."""
        coordinates = self.pca.transform(images.flatten(1).cpu().numpy()) / self.spread
        return torch.from_numpy(coordinates.astype(np.float32))

    def reconstruct(self, images: Tensor) -> Reconstruction:
        """Return the images' projections, clipped to [-1, 1]."""
        flat = self.scores(images).numpy() * self.spread @ self.pca.components_ + self.pca.mean_
        mean = torch.from_numpy(flat.astype(np.float32)).reshape(len(images), *self.shape)
        return Reconstruction(mean.clamp(-1, 1), torch.zeros(()))

    def reconstruct_by_absolute(self, images: Tensor, iterations: int = 30) -> Reconstruction:
        """Return the images of least mean absolute error in the span, clipped to [-1, 1].

        By iteratively reweighted least squares: what is asked for is the absolute error, and a
        projection minimises the square one.
        """
        basis = torch.from_numpy(self.pca.components_.astype(np.float32))  # (rank, pixels)
        centred = images.flatten(1) - torch.from_numpy(self.pca.mean_)
        made = []
        for image in centred:
            fitted = image @ basis.T @ basis
            for _ in range(iterations):
                weighted = basis / (image - fitted).abs().clamp(min=0.01)
                fitted = torch.linalg.solve(weighted @ basis.T, weighted @ image) @ basis
            made.append(fitted)
        mean = torch.stack(made) + torch.from_numpy(self.pca.mean_)
        return Reconstruction(mean.reshape(images.shape).clamp(-1, 1), torch.zeros(()))

    def projection(self) -> torch.nn.Linear:
        """Return the map from images to scores, (n, pixels) to (n, rank)."""
        layer = torch.nn.Linear(len(self.pca.mean_), len(self.spread))
        weight = self.pca.components_ / self.spread[:, None]
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(-weight @ self.pca.mean_))
        return layer

    def linear(self) -> torch.nn.Linear:
        """Return the map from scores to images, (n, rank) to (n, pixels)."""
        layer = torch.nn.Linear(len(self.spread), int(np.prod(self.shape)))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.pca.components_.T * self.spread))
            layer.bias.copy_(torch.from_numpy(self.pca.mean_))
        return layer
