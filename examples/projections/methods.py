"""All methods, from settings to scores."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from faces.decoders import WarpedLinear
from faces.features import Resemblance
from faces.new_faces import COUNT
from faces.scores import Reconstruction, scores
from torch import Tensor, nn

from explainaway.models import deconvnet
from explainaway.projected_factors import Factors

from .basis import CosineBasis
from .generator import Generator, Recipe
from .linear import (
    WIENER_STEPS,
    Draw,
    Predict,
    by_factors,
    by_lasso,
    by_pseudo_inverse,
    drawn_from,
    fitted,
    flat,
    of_complete,
    wiener,
    with_components,
    with_spectrum,
    with_white_noise,
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


HELD_OUT = "held-out RMSE by setting"

COMPLETE = "complete faces: "
"""Begins the names of methods that are learned from faces that are known completely."""


class Made(NamedTuple):
    """A method: what it predicts, what there is to say of it, and how it draws new faces."""

    predict: Predict
    numbers: dict[str, Any]
    draw: Draw | None = None


Make = Callable[[], Made]

Fitting = Callable[[Problem, Factors], tuple[Factors, dict[str, float]]]


class Evaluated(NamedTuple):
    """A method's scores and further numbers, its reconstructions by part, new faces of some."""

    scores: dict[str, Any]
    parts: dict[str, Reconstruction]
    drawn: Tensor | None


def spectrum_of(problem: Problem, setting: Setting, folder: Path) -> Factors:
    """Return the mean face and the spectrum, which are kept in the folder."""
    path = folder / f"wiener-{setting.problem_name}.pt"
    return Factors(*kept(path, lambda: tuple(wiener(problem))))


def without_rank(problem: Problem, setting: Setting, folder: Path) -> dict[str, Make]:
    """Return how the methods that have no number of latents are made."""
    spectrum = spectrum_of(problem, setting, folder)

    def sparse(weighted: bool) -> Made:
        predict, errors = by_lasso(problem, spectrum, weighted)
        return Made(predict, {HELD_OUT: errors})

    def of(factors: Factors) -> Made:
        draw = drawn_from(factors, problem.basis, with_rest=True)
        return Made(by_factors(factors, problem.basis), {}, draw)

    return {
        "mean face": lambda: Made(lambda data: flat(spectrum.mean.expand(len(data.y), -1)), {}),
        "pseudo-inverse": lambda: Made(by_pseudo_inverse(spectrum), {}),
        "LASSO": lambda: sparse(weighted=False),
        "LASSO, weighted by the spectrum": lambda: sparse(weighted=True),
        # The others' spectra go on being fitted from there, so its own does too.
        "Wiener": lambda: of(fitted(problem, spectrum, WIENER_STEPS, 0.0)),
        f"{COMPLETE}Wiener": lambda: of(of_complete(problem, 0)),
    }


def with_rank(problem: Problem, setting: Setting, folder: Path) -> dict[str, Make]:
    """Return how the methods of so many latents are made; factors are kept in the folder."""
    basis, rank = problem.basis, setting.rank
    start = with_components(problem, spectrum_of(problem, setting, folder), rank)

    def learned(name: str, learn: Fitting) -> tuple[Factors, dict[str, Any]]:
        def made() -> Any:
            began = time.process_time()
            factors, errors = learn(problem, start)
            seconds = time.process_time() - began
            return [tuple(factors), {HELD_OUT: errors, "CPU seconds of learning": seconds}]

        factors, numbers = kept(folder / f"{name}-{setting.name}.pt", made)
        return Factors(*factors), numbers

    def linear(name: str, learn: Fitting, with_rest: bool) -> Made:
        factors, numbers = learned(name, learn)
        return Made(by_factors(factors, basis), numbers, drawn_from(factors, basis, with_rest))

    def generator() -> Made:
        factors, _ = learned("factors", with_spectrum)
        noise = factors
        if setting.recipe.as_paper:
            noise = factors._replace(variance=torch.full_like(factors.variance, PAPER_NOISE**2))
        torch.manual_seed(setting.seed)
        decoder = network(setting, factors, basis)
        made = Generator(problem, decoder, noise, setting.recipe, setting.seed, setting.device)
        return Made(made.predict, made.learn(), made.draw)

    def complete() -> Made:
        factors = of_complete(problem, rank)
        return Made(by_factors(factors, basis), {}, drawn_from(factors, basis, with_rest=True))

    return {
        "probabilistic PCA": lambda: linear("pca", with_white_noise, with_rest=False),
        "factors, Wiener": lambda: linear("factors", with_spectrum, with_rest=True),
        "generator, Wiener": generator,
        f"{COMPLETE}factors, Wiener": complete,
    }


def network(setting: Setting, factors: Factors, basis: CosineBasis) -> nn.Module:
    """Return the factors' signals whose pixels move, or the paper's deconvolutions.

    Mean and loadings stay: without their penalty they would learn the projections by heart.
    """
    if setting.recipe.as_paper:
        return nn.Sequential(deconvnet(setting.rank, basis.shape, 64), nn.Tanh())
    layer = appearance(factors, basis)
    layer.requires_grad_(False)
    moved: nn.Module = WarpedLinear(layer, basis.shape)
    return moved


def appearance(factors: Factors, basis: CosineBasis) -> nn.Linear:
    """Return mean and loadings of factors as a layer from latents to flat images."""
    layer = nn.Linear(factors.loadings.shape[1], len(factors.mean))
    with torch.no_grad():
        layer.weight.copy_(basis.images(factors.loadings.mT).flatten(1).mT)
        layer.bias.copy_(basis.images(factors.mean[None]).flatten())
    return layer


def evaluated(problem: Problem, name: str, make: Make, seed: int) -> Evaluated:
    """Return a method's scores, its reconstructions of the scored faces, by part, and new faces.

    Its deviations are multiplied by the number that makes them as large as the errors of held-out
    projections.
    """
    predict, numbers, draw = make()
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
    drawn = None if draw is None else draw(COUNT, seed)
    if drawn is not None:
        found["drawn"] = Resemblance(truth["new"])(drawn)
    print(f"  {name}: MAE {found['new']['mae']:.4f} of test faces", flush=True)
    return Evaluated({**found, **numbers}, parts, drawn)


def reachable(problem: Problem) -> dict[str, Any]:
    """Return how near training faces are to the test faces: what drawn faces can reach."""
    train, test = problem.faces.split([problem.num_train, len(problem.faces) - problem.num_train])
    found: dict[str, Any] = Resemblance(test)(train)
    return found
