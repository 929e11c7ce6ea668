"""How far a synthesised texture is from its exemplar, and how much of it is copied."""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

SHIFT = 4
"""Pixels of a band between features whose correlation is looked at."""


class FeatureMoments(NamedTuple):
    """Mean and covariance of the features of an image at each scale.

    Attributes
    ----------
    means : Tensor, (scales, features)
    covariances : Tensor, (scales, features, features)
    """

    means: Tensor
    covariances: Tensor


class TextureDistance:
    """Distance of textures by the joint statistics of oriented band-pass filters.

    An image is split into the bands of a Laplacian pyramid, in the principal colours of the
    exemplar and in units of its deviations. The features of a place are the band's three colours,
    the magnitudes of quadrature filters of four orientations, the same features some pixels to the
    right and below, and those of the next coarser band. Their means and covariances hold what
    Portilla & Simoncelli found to be enough to synthesise textures: the spectrum, the sparseness of
    edges, how these go on in space, and what stands above what across orientations and scales.
    The distance at a scale is Fréchet's between normal distributions of these moments, over the
    exemplar's variance.

    Parameters
    ----------
    exemplar : Tensor, (3, h, w)
        Colours and deviations are in its units.
    scales : int, default 3
        Bands that are compared, each of half the resolution of the one before.

    Raises
    ------
    ValueError
        If the exemplar is not of shape (3, h, w), or its coarsest band is smaller than 16 pixels.

    References
    ----------
    Portilla & Simoncelli, "A parametric texture model based on joint statistics of complex wavelet
    coefficients" (2000). Dowson & Landau, "The Fréchet distance between multivariate normal
    distributions" (1982).
    """

    def __init__(self, exemplar: Tensor, scales: int = 3) -> None:
        smallest = 16 * 2**scales
        if exemplar.dim() != 3 or len(exemplar) != 3 or min(exemplar.shape[1:]) < smallest:
            raise ValueError(
                f"exemplar must have shape (3, h, w), of at least {smallest} pixels for {scales} "
                f"scales, got {tuple(exemplar.shape)}"
            )
        self.scales = scales
        colours = exemplar.flatten(1)
        self._mean = colours.mean(1)[:, None, None]
        self._axes = torch.linalg.eigh(colours.cov()).eigenvectors
        self._units = [band.flatten(1).std(1).clamp(min=1e-6) for band in self._bands(exemplar)]
        self._variances = self.moments(exemplar).covariances.diagonal(dim1=1, dim2=2).sum(1)

    def moments(self, image: Tensor) -> FeatureMoments:
        """Return the moments of an image's features.

        Parameters
        ----------
        image : Tensor, (3, h, w)
            In the units of the exemplar.
        """
        bands = self._bands(image)
        responses = [
            _responses(band / unit[:, None, None])
            for band, unit in zip(bands, self._units, strict=True)
        ]
        means, covariances = [], []
        for fine, coarse in itertools.pairwise(responses):
            above = interpolate(coarse[None], fine.shape[1:], mode="bilinear")[0]
            here, right = fine[:, :-SHIFT, :-SHIFT], fine[:, :-SHIFT, SHIFT:]
            below = fine[:, SHIFT:, :-SHIFT]
            features = torch.cat([here, right, below, above[:, :-SHIFT, :-SHIFT]]).flatten(1)
            means.append(features.mean(1).double())
            covariances.append(features.double().cov())
        return FeatureMoments(torch.stack(means), torch.stack(covariances))

    def between(self, one: FeatureMoments, other: FeatureMoments) -> Tensor:
        """Return the distance of two images by their moments, (scales,), from fine to coarse.

        Small images have noisy moments, which are further apart: compare images of equal size.
        """
        root = _root(one.covariances)
        cross = _root(root @ other.covariances @ root)
        traces = (one.covariances + other.covariances - 2 * cross).diagonal(dim1=1, dim2=2).sum(1)
        return ((one.means - other.means).square().sum(1) + traces) / self._variances

    def _bands(self, image: Tensor) -> list[Tensor]:
        """Return band-passed images, from fine to coarse, colours decorrelated."""
        rest = torch.einsum("cd,chw->dhw", self._axes, image - self._mean)
        bands = []
        for _ in range(self.scales + 1):
            coarse = avg_pool2d(rest[None], 2)
            back = interpolate(coarse, rest.shape[1:], mode="bilinear")[0]
            bands.append(rest - back)
            rest = coarse[0]
        return bands


def _responses(band: Tensor) -> Tensor:
    """Return a band's colours and the magnitudes of four orientations, (15, h, w)."""
    reach = torch.arange(-4.0, 5.0)
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    angles = torch.arange(4) * math.pi / 4
    phase = (angles.cos()[:, None, None] * x + angles.sin()[:, None, None] * y) * math.pi / 2
    bell = (-(x**2 + y**2) / (2 * 1.7**2)).exp()
    even, odd = phase.cos() * bell, phase.sin() * bell
    even = even - bell * even.sum((1, 2), keepdim=True) / bell.sum()
    filters = torch.cat([even, odd])[:, None] / bell.norm()
    # Colours as a batch: each passes all filters.
    passed = conv2d(pad(band[:, None], (4,) * 4, mode="reflect"), filters)
    magnitudes = passed.unflatten(1, (2, 4)).square().sum(1).sqrt()
    return torch.cat([band, magnitudes.flatten(0, 1)])


def nearest_patches(
    image: Tensor, exemplar: Tensor, side: int = 24, count: int = 100, seed: int = 0
) -> Tensor:
    """Return how far patches of an image are from the nearest patches of the exemplar.

    Parameters
    ----------
    image : Tensor, (c, h, w)
        Where the patches are taken, at random places.
    exemplar : Tensor, (c, h, w)
        Where they are looked for, at all places.
    side : int, default 24
        Of a patch, in pixels.
    count : int, default 100
        Number of patches.
    seed : int, default 0
        Of the places.

    Returns
    -------
    Tensor
        (count,): mean square differences over the variance of the exemplar's pixels. 0 is copied;
        2 is what two unrelated pixels have.

    Raises
    ------
    ValueError
        If a patch does not fit into an image.
    """
    smallest = min(*image.shape[1:], *exemplar.shape[1:])
    if not 1 <= side <= smallest:
        raise ValueError(f"side must lie between 1 and {smallest}, that of the images, got {side}")
    generator = torch.Generator().manual_seed(seed)
    mean = exemplar.mean((1, 2), keepdim=True)
    image, exemplar = image - mean, exemplar - mean
    tops, lefts = (
        torch.randint(size - side + 1, (count,), generator=generator) for size in image.shape[1:]
    )
    patches = torch.stack(
        [image[:, i : i + side, j : j + side] for i, j in zip(tops, lefts, strict=True)]
    )
    ones = torch.ones(1, len(exemplar), side, side)
    squares = conv2d(exemplar.square()[None], ones)
    products = conv2d(exemplar[None], patches)
    apart = patches.square().flatten(1).sum(1)[:, None, None] - 2 * products + squares
    nearest = apart.flatten(2).amin(2)[0].clamp(min=0)
    return nearest / (side**2 * len(exemplar)) / exemplar.var()


def _root(matrices: Tensor) -> Tensor:
    """Return the symmetric square roots of positive semi-definite matrices."""
    values, vectors = torch.linalg.eigh(matrices)
    root: Tensor = vectors * values.clamp(min=0).sqrt()[..., None, :] @ vectors.mT
    return root
