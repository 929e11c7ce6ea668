"""Ways to fill hidden pixels without a network, of standardised images."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from torch import Tensor, nn

from explainaway.gaussian_fields import GaussianField

from .data import mirrored
from .incomplete import Problem, error


def interpolated(problem: Problem, part: slice) -> Tensor:
    """Return faces interpolated linearly between observed pixels, the nearest one's beyond them."""
    filled = []
    for y, seen in zip(problem.y[part], problem.observed[part, 0].numpy(), strict=True):
        inside, outside = np.argwhere(seen), np.argwhere(~seen)
        values = y.permute(1, 2, 0).numpy()
        known = values[seen]
        made = LinearNDInterpolator(inside, known)(outside)
        nearest = NearestNDInterpolator(inside, known)(outside)
        values = values.copy()
        values[~seen] = np.where(np.isnan(made), nearest, made)
        filled.append(torch.from_numpy(values).permute(2, 0, 1))
    return torch.stack(filled).float()


class Krige:
    """Signals completed by kriging of what they leave.

    Parameters
    ----------
    problem : Problem
        The faces.
    signal : callable
        From a part to the signal (n, 3, side, side) around which is kriged.
    field : GaussianField
        What is left.
    """

    def __init__(
        self, problem: Problem, signal: Callable[[slice], Tensor], field: GaussianField
    ) -> None:
        self.problem, self.signal, self.field = problem, signal, field
        self._kept: dict[tuple[int, int], Tensor] = {}
        self.error = error(problem, self(problem.validation))

    def __call__(self, part: slice) -> Tensor:
        """Return the completed images of a part, which are kept."""
        key = part.start, part.stop
        if key not in self._kept:
            self._kept[key] = self._made(part)
        return self._kept[key]

    def _made(self, part: slice) -> Tensor:
        signal, observed = self.signal(part), self.problem.observed[part][:, :1]
        left = self.problem.y[part].nan_to_num() - signal
        return torch.where(
            observed, self.problem.y[part], signal + self.field.complete(left, observed)
        )


BATCH = 250
"""Images whose latents' covariances are held at once."""


class Components:
    """Probabilistic PCA of images with hidden cells: scores and what they say of hidden cells.

    Parameters
    ----------
    loadings : Tensor, (3 side side, d)
        Of latents N(0, I).
    """

    def __init__(self, loadings: Tensor) -> None:
        self.loadings = loadings
        by_pixel = loadings.reshape(3, -1, loadings.shape[1])
        # (pixels, d²): the channels of a pixel are seen together
        self.outer = torch.einsum("cpi,cpj->pij", by_pixel, by_pixel).flatten(1)

    def posterior(self, y: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        """Return mean (n, d) and covariance (n, d, d) of latents under white noise of a scale."""
        d = self.loadings.shape[1]
        seen = (~y[:, 0].isnan()).flatten(1).float()
        precision = (seen @ self.outer).unflatten(1, (d, d)) / noise**2 + torch.eye(d)
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
        right = y.nan_to_num().flatten(1) @ self.loadings / noise**2
        return (covariance @ right[..., None])[..., 0], covariance

    def scores(self, y: Tensor, noise: float) -> Tensor:
        """Return the posterior mean (n, d) of latents under white noise of a scale."""
        return torch.cat([self.posterior(some, noise)[0] for some in y.split(BATCH)])

    def linear(self) -> nn.Linear:
        """Return the map from latents to flat images."""
        layer = nn.Linear(self.loadings.shape[1], len(self.loadings))
        with torch.no_grad():
            layer.weight.copy_(self.loadings)
            layer.bias.zero_()
        return layer

    def projection(self) -> nn.Linear:
        """Return the map from complete flat images to latents."""
        layer = nn.Linear(len(self.loadings), self.loadings.shape[1])
        with torch.no_grad():
            layer.weight.copy_(self.loadings.mT / self.loadings.square().sum(0)[:, None])
            layer.bias.zero_()
        return layer

    def images(self, scores: Tensor, shape: torch.Size) -> Tensor:
        """Return signals (n, 3, side, side)."""
        made: Tensor = (scores @ self.loadings.mT).reshape(-1, *shape)
        return made


def principal_loadings(
    filled: Tensor, rank: int, steps: int, start: Tensor | None = None
) -> Tensor:
    """Return loadings (cells, rank) of filled images and their mirror images, by power iteration.

    Each is as long as the standard deviation along it, less that of the rest.
    """
    flat = mirrored(filled).flatten(1)
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(flat.shape[1], rank, generator=generator) if start is None else start
    for _ in range(steps):
        basis, _ = torch.linalg.qr(flat.mT @ (flat @ basis))
    values, vectors = torch.linalg.eigh((flat @ basis).mT @ (flat @ basis) / len(flat))
    rest = (flat.square().sum() / len(flat) - values.sum()) / (flat.shape[1] - rank)
    loadings: Tensor = basis @ vectors * (values - rest).clamp(min=1e-6).sqrt()
    return loadings


def iterative_pca(problem: Problem, rank: int, iterations: int = 20) -> tuple[Components, float]:
    """Fill, find components, fill again; return the components and the noise around them.

    References
    ----------
    Josse & Husson, "Handling missing values in exploratory multivariate data analysis methods"
    (2012), the regularised algorithm.
    """
    y = problem.y[problem.train]
    hidden, filled = y.isnan(), y.nan_to_num()
    loadings = principal_loadings(filled, rank, 4)
    shape = y.shape[1:]
    for _ in range(iterations):
        basis = torch.nn.functional.normalize(loadings, dim=0)
        signal = filled.flatten(1) @ basis
        variance = signal.square().mean(0)
        rest = (filled.square().sum() / len(y) - variance.sum()).clamp(min=0) / basis.shape[0]
        signal = signal * (1 - rest / variance).clamp(min=0)
        filled = torch.where(hidden, (signal @ basis.mT).reshape(-1, *shape), y.nan_to_num())
        loadings = principal_loadings(filled, rank, 1, basis)
    components = Components(loadings)
    basis = torch.nn.functional.normalize(loadings, dim=0)
    left = filled.flatten(1) - filled.flatten(1) @ basis @ basis.mT
    return components, float(left[~hidden.flatten(1)].square().mean().sqrt())


def expectation_maximisation(
    y: Tensor, loadings: Tensor, noise: float, iterations: int
) -> Components:
    """Return probabilistic PCA of images with NaN where hidden, at a fixed scale of the noise.

    Learned from mirror images too. Loadings are orthogonal, so that posteriors are nearly so, and a
    chain needs only a scale for each latent. Each pixel's loadings are regressed on the latents of
    the images in which it was observed, with a ridge of one image.

    References
    ----------
    Tipping & Bishop, "Probabilistic principal component analysis" (1999), section 3.3.
    """
    y, d = mirrored(y), loadings.shape[1]
    components = Components(loadings)
    for _ in range(iterations):
        second, cross, total = torch.zeros(1), torch.zeros(1), torch.eye(d)
        for some in y.split(BATCH):
            z, covariance = components.posterior(some, noise)
            moments = covariance + z[:, :, None] * z[:, None, :]
            total = total + moments.sum(0)
            second = second + (~some[:, 0].isnan()).flatten(1).float().mT @ moments.flatten(1)
            cross = cross + some.nan_to_num().flatten(1).mT @ z
        right = cross.unflatten(0, (3, -1)).permute(1, 2, 0)  # (pixels, d, 3)
        solved = torch.linalg.solve(second.unflatten(1, (d, d)) + torch.eye(d), right)
        scale = torch.linalg.cholesky(total / (len(y) + 1))
        left, lengths, _ = torch.linalg.svd(
            solved.permute(2, 0, 1).flatten(0, 1) @ scale, full_matrices=False
        )
        components = Components(left * lengths)
    return components
