"""The methods that fill hidden pixels of faces, each from settings to predictions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from explainaway.inference import RelativeAdam
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, deconvnet

from .data import mirrored
from .decoders import WarpedLinear
from .fills import (
    Components,
    Krige,
    expectation_maximisation,
    interpolated,
    iterative_pca,
    principal_loadings,
)
from .generator import Recipe, learn, mode, reconstruct, set_noise
from .incomplete import Problem, error
from .masked_vae import MaskedVAE
from .scores import Reconstruction
from .vae import learn as learn_vae

NOISES = (2.0,)
"""Of which the scale of the noise given which latents are found is chosen, in deviations.

Large, as noise of neighbouring pixels is taken as independent, which it is not."""

EM_ITERATIONS = 4

RATE = 0.003
"""Of learning, relative to the size of each tensor; small, as the start is good."""

RANKS = (10, 30)
"""Of which that of the iterative PCA is chosen."""

Predict = Callable[[slice], Reconstruction]
"""From a part of the faces to what is predicted of their standardised pixels."""


@dataclass(frozen=True)
class Setting:
    """What a row is made with.

    Attributes
    ----------
    kind : str
        Of the holes.
    rank : int
        Number of latents.
    side : int
        Of the images, in pixels.
    width : int
        Channels of the first layer of the VAE's encoder, and of the paper's decoder.
    device : str
        Where generator and VAE are.
    seed : int
        Of everything.
    recipe : Recipe
        How the generator learns; its noise is in deviations of a pixel.
    """

    kind: str
    rank: int
    side: int
    width: int
    device: str
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """What files of the row are called."""
        paper = "-paper" if self.recipe.as_paper else ""
        return f"{self.kind}{paper}-{self.side}-d{self.rank}-seed{self.seed}"


class Start(NamedTuple):
    """What is known before a network learns.

    Attributes
    ----------
    krige : Krige
        From the mean face.
    filled : Tensor, (n, 3, side, side)
        All faces by it.
    components : Components
        Probabilistic PCA of the incomplete training faces, where networks start.
    """

    krige: Krige
    filled: Tensor
    components: Components

    def network(self, setting: Setting) -> nn.Module:
        """Return the decoder: components that move, or the paper's deconvolutions."""
        shape = self.filled.shape[1:]
        if setting.recipe.as_paper:
            return deconvnet(setting.rank, shape, setting.width)
        return WarpedLinear(self.components.linear(), shape)


def begin(problem: Problem, setting: Setting, folder: Path) -> Start:
    """Return the kriged faces, and components that begin there; they are kept in the folder."""
    krige = Krige(problem, lambda part: torch.zeros_like(problem.faces[part]))
    filled = kept(folder / "filled.pt", lambda: krige(slice(0, len(problem.faces))))
    train = problem.train

    def loadings() -> Tensor:
        first = principal_loadings(filled[train], setting.rank, 4)
        noise = setting.recipe.noise
        return expectation_maximisation(problem.y[train], first, noise, EM_ITERATIONS).loadings

    return Start(krige, filled, Components(kept(folder / "loadings.pt", loadings)))


def kept(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """Return what is in a file, or make it."""
    if not path.exists():
        torch.save(make(), path)
    made: Tensor = torch.load(path, weights_only=True)
    return made


def classical(problem: Problem, start: Start) -> dict[str, Predict]:
    """Return the methods without a network."""
    filled = start.filled

    def signal(components: Components, noise: float) -> Callable[[slice], Tensor]:
        return lambda part: components.images(
            components.scores(problem.y[part], noise), filled.shape[1:]
        )

    by_pca = {rank: signal(*iterative_pca(problem, rank)) for rank in RANKS}
    errors = {rank: error(problem, made(problem.validation)) for rank, made in by_pca.items()}
    rank = min(errors, key=errors.__getitem__)
    kriged = [
        Krige(problem, signal(start.components, noise), start.krige.noise) for noise in NOISES
    ]
    best = min(kriged, key=lambda krige: krige.error)
    print(
        f"  held-out MAE: kriging {start.krige.error:.4f}, PCA, kriged {best.error:.4f}", flush=True
    )
    methods: dict[str, Callable[[slice], Tensor]] = {
        "mean face": lambda part: torch.zeros_like(problem.faces[part]),
        "linear interpolation": lambda part: interpolated(problem, part),
        f"iterative PCA, rank {rank}": by_pca[rank],
        "kriging": lambda part: filled[part],
        "probabilistic PCA, kriged": best,
    }
    return {name: without_deviation(method) for name, method in methods.items()}


def without_deviation(method: Callable[[slice], Tensor]) -> Predict:
    """Return predictions without a deviation of their own."""

    def predict(part: slice) -> Reconstruction:
        mean = method(part)
        return Reconstruction(mean, torch.zeros_like(mean))

    return predict


def with_kriging(problem: Problem, moments: Predict, start: Start) -> Predict:
    """Return predictions whose residual is kriged; their deviation is that of the signal.

    The covariance is that of kriging from the mean face, which predicted held-out pixels of M30
    better than that of the residual itself.
    """
    krige = Krige(problem, lambda part: moments(part).mean, start.krige.noise)
    return lambda part: Reconstruction(krige(part), moments(part).deviation)


class Learned(NamedTuple):
    """A generator's posterior moments of the signal, the seconds it learned, further numbers."""

    predict: Predict
    seconds: float
    numbers: dict[str, Any]
    model: GeneratorModel


def generator(problem: Problem, setting: Setting, start: Start, folder: Path) -> Learned:
    """Learn from faces with holes; reconstruct by the posterior."""
    recipe, seed = setting.recipe, setting.seed
    torch.manual_seed(seed)
    prior = Normal(setting.rank, learn=not recipe.as_paper)
    observation = Masked(Gaussian(recipe.noise, torch.tanh if recipe.as_paper else None))
    model = GeneratorModel(prior, start.network(setting), observation).to(setting.device)
    y, found = mirrored(problem.y[problem.train]), start.components
    fit = learn(
        model,
        y,
        recipe,
        folder / "fit.pt",
        seed,
        None if recipe.as_paper else found.scores(y, recipe.noise),
        lambda record: print(
            f"  loss {record['loss']:.1f} nats after {record['seconds']:.0f} s", flush=True
        ),
        RelativeAdam(model.parameters(), lr=RATE),
    )

    def sampled(part: slice, noise: float) -> Reconstruction:
        set_noise(model, noise)
        latents = None if recipe.as_paper else found.scores(problem.y[part], noise)
        path = folder / f"{part.start}-{noise}.pt"
        made, _ = reconstruct(model, problem.y[part], recipe, path, seed, latents)
        if latents is None:
            return made
        # The chain says how sure it is; its mean would have a fifth of a posterior variance of
        # Monte Carlo error, which the mode has not.
        return made._replace(
            mean=kept(path.with_suffix(".mode.pt"), lambda: mode(model, problem.y[part], latents))
        )

    noises = (recipe.noise,) if recipe.as_paper else NOISES
    errors = {}
    for noise in noises:
        signal = sampled(problem.validation, noise)
        errors[noise] = Krige(problem, partial(_mean, signal), start.krige.noise).error
        print(f"  held-out MAE of the generator, noise {noise}: {errors[noise]:.4f}", flush=True)
    best = min(noises, key=errors.__getitem__)
    numbers = {
        "gradients of each training face": recipe.epochs * (recipe.steps + 2),
        "held-out MAE by noise": {str(noise): value for noise, value in errors.items()},
        "mean square of z": float(fit.latents.square().mean()),
    }
    return Learned(lambda part: sampled(part, best), fit.history["seconds"][-1], numbers, model)


def _mean(made: Reconstruction, _: slice) -> Tensor:
    return made.mean


def masked_vae(
    problem: Problem, setting: Setting, start: Start, seconds: float, folder: Path
) -> tuple[Predict, int]:
    """Let a masked VAE of the same decoder, from the same start, learn for so many seconds."""
    torch.manual_seed(setting.seed)
    projection = start.components.projection()
    vae = MaskedVAE(
        start.network(setting), setting.rank, setting.side, setting.width, setting.recipe.noise,
        projection,
    ).to(setting.device)  # fmt: skip
    data = torch.cat([start.filled, problem.observed[:, :1]], 1)
    epochs = learn_vae(vae, mirrored(data[problem.train]), seconds, folder / "vae.pt", setting.seed)
    return lambda part: vae.reconstruct(data[part]), epochs
