"""All methods, from settings to scores."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from faces.decoders import WarpedLinear
from faces.scores import Reconstruction, scores
from torch import nn

from explainaway.models import deconvnet
from explainaway.projected_factors import Factors

from .basis import CosineBasis
from .generator import Generator, Recipe
from .linear import (
    FACTOR_STEPS,
    PCA_STEPS,
    Pooling,
    Predict,
    by_factors,
    by_lasso,
    by_penalty,
    by_pseudo_inverse,
    everywhere,
    flat,
    of_complete,
    wiener,
    with_components,
)
from .problem import SCALE, Problem

PAPER_NOISE = 0.3
"""Of a pixel."""


@dataclass(frozen=True)
class Setting:
    """What a row is made with.

    Attributes
    ----------
    rank : int
        Number of latents and of components.
    side, projections, matrices : int
        Of a face in pixels; of each face; different ones.
    device : str
        Where the generator is.
    seed : int
        Of everything.
    recipe : Recipe
        How the generator learns.
    """

    rank: int
    side: int
    projections: int
    matrices: int
    device: str
    seed: int
    recipe: Recipe

    @property
    def problem_name(self) -> str:
        """What files of all rows of the same faces and matrices are called."""
        return f"{self.side}-k{self.projections}-m{self.matrices}-seed{self.seed}"

    @property
    def name(self) -> str:
        """What files of the row are called."""
        paper = "-paper" if self.recipe.as_paper else ""
        return f"{self.problem_name}-d{self.rank}{paper}"


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Return what is in a file, or make it."""
    if not path.exists():
        torch.save(make(), path)
    return torch.load(path, weights_only=True)


Evaluated = tuple[dict[str, Any], dict[str, Reconstruction]]
"""A method's scores and further numbers, and its reconstructions by part."""


def spectrum_of(problem: Problem, setting: Setting, folder: Path) -> Factors:
    """Return the mean face and the spectrum, which are kept in the folder."""
    path = folder / f"wiener-{setting.problem_name}.pt"
    return Factors(*kept(path, lambda: tuple(wiener(problem))))


def without_rank(problem: Problem, setting: Setting, folder: Path) -> dict[str, Evaluated]:
    """Return the methods that have no number of latents."""
    spectrum, basis = spectrum_of(problem, setting, folder), problem.basis
    sparse, errors = by_lasso(problem, spectrum, weighted=False)
    weighted, weighted_errors = by_lasso(problem, spectrum, weighted=True)
    by_penalty = "held-out RMSE by penalty"
    methods: dict[str, tuple[Predict, dict[str, Any]]] = {
        "mean face": (lambda data: flat(spectrum.mean.expand(len(data.y), -1)), {}),
        "pseudo-inverse": (by_pseudo_inverse(spectrum), {}),
        "LASSO": (sparse, {by_penalty: errors}),
        "LASSO, weighted by the spectrum": (weighted, {by_penalty: weighted_errors}),
        "Wiener": (by_factors(spectrum, basis), {}),
        "T3: Wiener": (by_factors(of_complete(problem, 0), basis), {}),
    }
    return {name: evaluated(problem, name, *method) for name, method in methods.items()}


def with_rank(problem: Problem, setting: Setting, folder: Path) -> dict[str, Evaluated]:
    """Return the methods of so many latents; factors are kept in the folder."""
    spectrum, basis, rank = spectrum_of(problem, setting, folder), problem.basis, setting.rank
    start = with_components(problem, spectrum, rank)
    white = start._replace(variance=torch.full_like(start.variance, float(start.variance.mean())))

    def tuned(name: str, begun: Factors, steps: int, pooled: Pooling | None) -> Any:
        def made() -> Any:
            began = time.process_time()
            factors, errors = by_penalty(problem, begun, steps, pooled)
            seconds = time.process_time() - began
            numbers = {"held-out RMSE by penalty": errors, "CPU seconds of learning": seconds}
            return [tuple(factors), numbers]

        found, numbers = kept(folder / f"{name}-{setting.name}.pt", made)
        return Factors(*found), numbers

    pca, of_pca = tuned("pca", white, PCA_STEPS, everywhere)
    factors, of_factors = tuned("factors", start, FACTOR_STEPS, None)
    noise = factors
    if setting.recipe.as_paper:
        noise = factors._replace(variance=torch.full_like(factors.variance, PAPER_NOISE**2))
    torch.manual_seed(setting.seed)
    decoder = network(setting, factors, basis)
    generator = Generator(problem, decoder, noise, setting.recipe, setting.seed, setting.device)
    of_generator = generator.learn()
    methods: dict[str, tuple[Predict, dict[str, Any]]] = {
        "probabilistic PCA (EM)": (by_factors(pca, basis), of_pca),
        "factors, Wiener": (by_factors(factors, basis), of_factors),
        "generator, Wiener": (generator.predict, of_generator),
        "T3: factors, Wiener": (by_factors(of_complete(problem, rank), basis), {}),
    }
    return {name: evaluated(problem, name, *method) for name, method in methods.items()}


def network(setting: Setting, factors: Factors, basis: CosineBasis) -> nn.Module:
    """Return the factors' signals whose pixels move, or the paper's deconvolutions.

    Mean and loadings stay: without their penalty they would learn the projections by heart.
    """
    if setting.recipe.as_paper:
        return nn.Sequential(deconvnet(setting.rank, basis.shape, 64), nn.Tanh())
    layer = appearance(factors, basis)
    layer.requires_grad_(False)
    return WarpedLinear(layer, basis.shape)


def appearance(factors: Factors, basis: CosineBasis) -> nn.Linear:
    """Return mean and loadings of factors as a layer from latents to flat images."""
    layer = nn.Linear(factors.loadings.shape[1], len(factors.mean))
    with torch.no_grad():
        layer.weight.copy_(basis.images(factors.loadings.mT).flatten(1).mT)
        layer.bias.copy_(basis.images(factors.mean[None]).flatten())
    return layer


def evaluated(problem: Problem, name: str, predict: Predict, numbers: dict[str, Any]) -> Evaluated:
    """Return a method's scores and its reconstructions of the scored faces, by part.

    Its deviations are multiplied by the number that makes them as large as the errors of held-out
    projections.
    """
    squares, expected = 0.0, 0.0
    for group in problem.validation:
        made = predict(group.data)
        left = group.held_out.y - made.mean @ group.held_out.matrix.mT
        squares += float(left.square().sum())
        whole = made.variance.expand(len(left), *problem.faces.shape[1:])
        expected += float(whole.sum()) * SCALE**2 * left.shape[1]
    means, deviations = torch.zeros_like(problem.faces), torch.zeros_like(problem.faces)
    for group in problem.scored:
        made = predict(group.data)
        means[group.faces] = problem.basis.images(made.mean).clamp(-1, 1)
        deviations[group.faces] = (made.variance * squares / expected).sqrt()
    parts = {
        part: Reconstruction(means[places], deviations[places])
        for part, places in problem.parts().items()
    }
    truth = {part: problem.faces[places] for part, places in problem.parts().items()}
    found: dict[str, Any] = {
        part: scores(truth[part], made, 0.0)._asdict() for part, made in parts.items()
    }
    count = sum(group.held_out.y.numel() for group in problem.validation)
    cells = problem.faces[0].numel()
    found["held-out RMSE"] = (squares / count / cells) ** 0.5 / SCALE / 2
    found["factor of deviations"] = (squares / expected) ** 0.5
    print(f"  {name}: MAE {found['new']['mae']:.4f} of new faces", flush=True)
    return {**found, **numbers}, parts
