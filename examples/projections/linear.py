"""Methods in closed form: from projections to what is predicted of the faces."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from explainaway.projected_factors import (
    Factors,
    Projected,
    Whitened,
    completed,
    conditional_mean,
    fit_factors,
    latent_moments,
    whitened,
)
from explainaway.sparse_recovery import lasso

from .basis import CosineBasis
from .problem import Problem, held_out_error

LASSO_PENALTIES = (10.0, 30.0, 100.0)
WEIGHTED_PENALTIES = (0.003, 0.03, 0.3)
LOADING_PENALTIES = (300.0, 1000.0)
PCA_PENALTIES = (10.0, 100.0, 300.0)
NOISES = (0.05, 0.1, 0.2)
"""Of which those are chosen that predict held-out projections best."""

MEAN_PENALTY = 10.0
"""Of the mean face's squares in white units."""

WIENER_STEPS, PCA_STEPS, FACTOR_STEPS = 6, 10, 4


class Prediction(NamedTuple):
    """Expected coefficients (n, cells), and pixels' variance (n or 1, 3, side, side) or 1."""

    mean: Tensor
    variance: Tensor


Predict = Callable[[Projected], Prediction]

Draw = Callable[[int, int], Tensor]
"""From how many and a seed to new faces (n, 3, side, side) in [-1, 1]."""

Pooling = Callable[[Tensor], Tensor]
"""From each coefficient's share of the residual to what those of like variance have in common."""


def flat(mean: Tensor) -> Prediction:
    """Return a prediction as sure of one pixel as of another."""
    return Prediction(mean, torch.ones(1, 1, 1, 1))


def by_factors(factors: Factors, basis: CosineBasis) -> Predict:
    """Return the exact conditional mean and variance under a normal distribution."""

    def predict(data: Projected) -> Prediction:
        white = whitened(data, factors.variance)
        return Prediction(conditional_mean(white, factors), variance(white, factors, basis))

    return predict


def drawn_from(factors: Factors, basis: CosineBasis, with_rest: bool) -> Draw:
    """Return how new faces are drawn under a normal distribution, with what factors leave or not.

    What independent coefficients of their own spectrum leave is part of a face; white noise is not.
    """

    def draw(count: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(count, factors.loadings.shape[1], generator=generator)
        made = factors.mean + latents @ factors.loadings.mT
        if with_rest:
            white = torch.randn(made.shape, generator=generator)
            made = made + white * factors.variance.sqrt()
        return basis.images(made).clamp(-1, 1)

    return draw


def variance(white: Whitened, factors: Factors, basis: CosineBasis) -> Tensor:
    """Return the conditional variance (1, 3, side, side) of pixels, the same for all faces."""
    left = residual_variance(white, factors.variance, basis)
    if not factors.loadings.shape[1]:
        return left
    deviation = factors.variance.sqrt()
    loadings = factors.loadings / deviation[:, None]
    found = latent_moments(white, factors.mean / deviation, loadings)
    unseen = loadings - white.matrix.mT @ found.projected
    spread = deviation[:, None] * (unseen @ torch.linalg.cholesky(found.covariance))
    return left + basis.images(spread.mT).square().sum(0)


def residual_variance(white: Whitened, variance: Tensor, basis: CosineBasis) -> Tensor:
    """Return the conditional variance (1, 3, side, side) of pixels given the latents."""
    colours, waves = basis.colours.square(), basis.waves.square()
    prior = torch.einsum("oc,oab,ai,bj->cij", colours, variance.reshape(basis.shape), waves, waves)
    known = basis.images(white.matrix * variance.sqrt()).square().sum(0)
    return (prior - known).clamp(min=1e-8)[None]


def wiener(problem: Problem) -> Factors:
    """Return the mean face and the spectrum, learned from projections: kriging's covariance."""
    side = problem.basis.shape[-1]
    frequency = torch.arange(side)
    falling = 1 / (1 + frequency[:, None].square() + frequency.square())
    spectrum = torch.tensor([1.0, 0.1, 0.1])[:, None, None] * falling
    cells = spectrum.numel()
    start = Factors(torch.zeros(cells), torch.zeros(cells, 0), spectrum.flatten())
    return fitted(problem, start, WIENER_STEPS, 0.0)


def fitted(
    problem: Problem,
    start: Factors,
    steps: int,
    penalty: float,
    pooled: Pooling | None = None,
) -> Factors:
    """Fit factors to the training faces' projections; mirror images are as likely as faces."""
    data = [group.data for group in problem.train]
    return fit_factors(
        data, start, steps, penalty, MEAN_PENALTY, problem.basis.mirror, pooled=pooled
    )


def everywhere(cells: Tensor) -> Tensor:
    """Return the mean of all cells in each: white noise."""
    return cells.mean().expand_as(cells).clone()


def with_components(problem: Problem, factors: Factors, rank: int) -> Factors:
    """Return factors with the principal components of the signals that they predict."""
    deviation = factors.variance.sqrt()
    seen = torch.cat(
        [
            conditional_mean(whitened(group.data, factors.variance), factors) - factors.mean
            for group in problem.train
        ]
    )
    rows = torch.cat([seen, seen * problem.basis.mirror]) / deviation
    torch.manual_seed(0)
    _, values, vectors = torch.svd_lowrank(rows, rank + 10, niter=3)
    loadings = vectors[:, :rank] * values[:rank] / len(rows) ** 0.5
    return factors._replace(loadings=loadings * deviation[:, None])


def of_complete(problem: Problem, rank: int) -> Factors:
    """Return factors of the complete training faces and their mirror images."""
    coefficients = problem.basis.coefficients(problem.faces[: problem.num_train])
    both = torch.cat([coefficients, coefficients * problem.basis.mirror])
    mean = both.mean(0)
    centred = both - mean
    torch.manual_seed(0)
    vectors = torch.zeros(len(mean), 0)
    loadings = vectors
    if rank:
        _, values, vectors = torch.svd_lowrank(centred, rank + 10, niter=3)
        vectors = vectors[:, :rank]
        loadings = vectors * values[:rank] / len(both) ** 0.5
    left = (centred - centred @ vectors @ vectors.mT).square().mean(0)
    return Factors(mean, loadings, left.clamp(min=1e-7))


def best(
    problem: Problem, candidates: Mapping[str, Callable[[Projected], Tensor]]
) -> tuple[str, dict[str, float]]:
    """Return the setting that predicts held-out projections best, and the error of each."""
    errors = {
        setting: held_out_error(
            problem.validation, [method(group.data) for group in problem.validation]
        )
        for setting, method in candidates.items()
    }
    return min(errors, key=errors.__getitem__), errors


def by_lasso(
    problem: Problem, factors: Factors, weighted: bool
) -> tuple[Predict, dict[str, float]]:
    """Return the LASSO around the mean face, its coefficients weighted by the spectrum or not."""

    def at(penalty: float) -> Callable[[Projected], Tensor]:
        def predict(data: Projected) -> Tensor:
            if not weighted:
                left = data.y - factors.mean @ data.matrix.mT
                return factors.mean + lasso(data.matrix, left, penalty)
            white, deviation = whitened(data, factors.variance), factors.variance.sqrt()
            left = white.y - factors.mean / deviation @ white.matrix.mT
            return factors.mean + deviation * lasso(white.matrix, left, penalty)

        return predict

    penalties: Sequence[float] = WEIGHTED_PENALTIES if weighted else LASSO_PENALTIES
    candidates = {f"penalty {penalty:g}": at(penalty) for penalty in penalties}
    found, errors = best(problem, candidates)
    return lambda data: flat(candidates[found](data)), errors


def by_pseudo_inverse(factors: Factors) -> Predict:
    """Return the smallest deviation from the mean face that explains the projections."""
    white = torch.ones_like(factors.mean)
    return lambda data: flat(completed(whitened(data, white), factors.mean, white))


def best_of(problem: Problem, fits: Mapping[str, Factors]) -> tuple[Factors, dict[str, float]]:
    """Return the factors that predict held-out projections best, and the error of each."""

    def mean_of(factors: Factors) -> Callable[[Projected], Tensor]:
        return lambda data: conditional_mean(whitened(data, factors.variance), factors)

    found, errors = best(problem, {name: mean_of(fit) for name, fit in fits.items()})
    return fits[found], errors


def with_spectrum(problem: Problem, start: Factors) -> tuple[Factors, dict[str, float]]:
    """Return factors, and the spectrum of what they leave, learned from projections."""
    fits = {
        f"penalty {penalty:g}": fitted(problem, start, FACTOR_STEPS, penalty)
        for penalty in LOADING_PENALTIES
    }
    return best_of(problem, fits)


def with_white_noise(problem: Problem, start: Factors) -> tuple[Factors, dict[str, float]]:
    """Return probabilistic PCA: the components at which it begins, or by EM from there."""
    begun = {
        noise: start._replace(variance=torch.full_like(start.mean, noise**2)) for noise in NOISES
    }
    fits = {f"no EM, noise {noise:g}": each for noise, each in begun.items()}
    for penalty in PCA_PENALTIES:
        fits[f"EM, penalty {penalty:g}"] = fitted(
            problem, begun[NOISES[1]], PCA_STEPS, penalty, everywhere
        )
    return best_of(problem, fits)
