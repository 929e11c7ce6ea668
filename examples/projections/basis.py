"""A basis in which the parts of an image are nearly uncorrelated."""

import math

import torch
from torch import Tensor


class CosineBasis:
    """Discrete cosine transform of opponent colours, orthonormal.

    Parameters
    ----------
    side : int
        Of the images, in pixels.

    References
    ----------
    Ahmed, Natarajan & Rao, "Discrete cosine transform" (1974): of a stationary field with much
    correlation it gives nearly uncorrelated coefficients; Ohta, Kanade & Sakai, "Color information
    for region segmentation" (1980), for the colours.
    """

    def __init__(self, side: int) -> None:
        colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
        self.colours = colours / colours.norm(dim=1, keepdim=True)
        frequency = torch.arange(side)[:, None]
        waves = torch.cos(math.pi * frequency * (2 * torch.arange(side) + 1) / (2 * side))
        self.waves = waves / waves.norm(dim=1, keepdim=True)
        self.shape = (3, side, side)

    def coefficients(self, images: Tensor) -> Tensor:
        """Return those of images (n, 3, side, side), flat: (n, 3 side side)."""
        colours, waves = self.colours.to(images), self.waves.to(images)
        mixed = torch.einsum("oc,ncij->noij", colours, images)
        flat: Tensor = (waves @ mixed @ waves.mT).flatten(1)
        return flat

    def images(self, coefficients: Tensor) -> Tensor:
        """Return the images (n, 3, side, side) of coefficients (n, 3 side side)."""
        mixed = self.waves.mT @ coefficients.reshape(-1, *self.shape) @ self.waves
        return torch.einsum("oc,noij->ncij", self.colours, mixed)

    @property
    def mirror(self) -> Tensor:
        """The signs (3 side side) that coefficients change when an image is mirrored."""
        signs = torch.ones(self.shape)
        signs[..., 1::2] = -1
        return signs.flatten()
