"""The methods that fill hidden pixels of faces, each from settings to predictions."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from explainaway.gaussian_fields import GaussianField
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, deconvnet

from . import local
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
from .generator import Recipe, learn, reconstruct
from .incomplete import Problem, error
from .masked_vae import MaskedVAE
from .new_faces import Draw, of_decoder, of_field
from .scores import Reconstruction
from .vae import learn as learn_vae

NOISE = 2.0
"""Scale of the white noise under which components and VAE learn, in deviations of a pixel."""

NOISES = (1.0, 2.0, 4.0, 8.0)
"""Of which that under which scores of components are found is chosen.

White noise takes neighbours as independent, which they are not: so large ones are among them."""

EM_ITERATIONS = 6

RANKS = (10, 30)
"""Of which that of the iterative PCA is chosen."""

SHARES = (0.0, 0.2, 0.4, 0.6)
"""Of which that of probabilistic PCA in a mean of two predictions is chosen."""

STACKED = "generator, stacked"

Predict = Callable[[slice], Reconstruction]
"""From a part of the faces to what is predicted of their standardised pixels."""

Numbers = dict[str, Any]


class Methods(NamedTuple):
    """Methods by name.

    Attributes
    ----------
    predict : dict of callable
        How each fills hidden pixels.
    numbers : dict of dict
        What there is to say of some.
    draw : dict of callable
        How some make new faces.
    """

    predict: dict[str, Predict]
    numbers: dict[str, Numbers]
    draw: dict[str, Draw]

    def joined(self, others: "Methods") -> "Methods":
        """Return these methods and then others."""
        return Methods(
            {**self.predict, **others.predict},
            {**self.numbers, **others.numbers},
            {**self.draw, **others.draw},
        )


@dataclass(frozen=True)
class Setting:
    """What a row is made with.

    Attributes
    ----------
    kind : str
        Of the holes.
    rank : int
        Number of latents of the probabilistic PCA, of the VAE and of the paper's generator.
    side : int
        Of the images, in pixels.
    width : int
        Channels of the first layer of the VAE's encoder, and of the paper's decoder.
    device : str
        Where VAE and the paper's generator are.
    seed : int
        Of everything.
    paper : Recipe, optional
        How the paper's generator learns; by default it is ours.
    """

    kind: str
    rank: int
    side: int
    width: int
    device: str
    seed: int
    paper: Recipe | None = None

    @property
    def name(self) -> str:
        """What files of the row are called."""
        paper = "-paper" if self.paper else ""
        return f"{self.kind}{paper}-{self.side}-d{self.rank}-seed{self.seed}"


class Start(NamedTuple):
    """What is known before a network learns.

    Attributes
    ----------
    stationary : local.Chosen
        The covariance around the mean face.
    krige : Krige
        By it.
    filled : Tensor, (n, 3, side, side)
        All faces, kriged.
    components : Components
        Probabilistic PCA of the incomplete training faces.
    """

    stationary: local.Chosen
    krige: Krige
    filled: Tensor
    components: Components


def begin(problem: Problem, setting: Setting, folder: Path) -> Start:
    """Return the kriged faces, and components that begin there; they are kept in the folder."""
    chosen = local.stationary(problem)
    field = GaussianField(chosen.covariance)
    krige = Krige(problem, lambda part: torch.zeros_like(problem.faces[part]), field)
    filled = kept(folder / "filled.pt", lambda: krige(slice(0, len(problem.faces))))
    train = problem.train

    def loadings() -> Tensor:
        first = principal_loadings(filled[train], setting.rank, 4)
        return expectation_maximisation(problem.y[train], first, NOISE, EM_ITERATIONS).loadings

    return Start(chosen, krige, filled, Components(kept(folder / "loadings.pt", loadings)))


def kept(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """Return what is in a file, or make it."""
    if not path.exists():
        torch.save(make(), path)
    made: Tensor = torch.load(path, weights_only=True)
    return made


def classical(problem: Problem, start: Start) -> Methods:
    """Return the methods of old."""
    shape = problem.faces.shape[1:]

    def signal(components: Components, noise: float) -> Callable[[slice], Tensor]:
        return lambda part: components.images(components.scores(problem.y[part], noise), shape)

    by_pca = {rank: signal(*iterative_pca(problem, rank)) for rank in RANKS}
    errors = {rank: error(problem, made(problem.validation)) for rank, made in by_pca.items()}
    rank = min(errors, key=errors.__getitem__)
    kriged = {
        noise: Krige(problem, signal(start.components, noise), start.krige.field)
        for noise in NOISES
    }
    best = min(kriged.values(), key=lambda krige: krige.error)
    methods: dict[str, Predict] = {
        "mean face": without_deviation(lambda part: torch.zeros_like(problem.faces[part])),
        "linear interpolation": without_deviation(lambda part: interpolated(problem, part)),
        "iterative PCA": without_deviation(by_pca[rank]),
        "kriging": without_deviation(start.krige),
        "probabilistic PCA, kriged": without_deviation(best),
    }
    held_out = "held-out MAE"
    numbers = {
        "iterative PCA": {held_out: {f"rank {each}": found for each, found in errors.items()}},
        "kriging": {held_out: start.stationary.errors},
        "probabilistic PCA, kriged": {
            held_out: {f"noise {noise:g}": each.error for noise, each in kriged.items()}
        },
    }
    linear, count = start.components.linear(), start.components.loadings.shape[1]
    draws = {
        "kriging": of_field(problem, start.krige.field),
        "probabilistic PCA": of_decoder(problem, linear, count),
    }
    return Methods(methods, numbers, draws)


def without_deviation(method: Callable[[slice], Tensor]) -> Predict:
    """Return predictions without a deviation of their own."""

    def predict(part: slice) -> Reconstruction:
        mean = method(part)
        return Reconstruction(mean, torch.zeros_like(mean))

    return predict


def with_kriging(problem: Problem, predict: Predict, start: Start) -> Predict:
    """Return predictions whose residual is kriged; their deviation is that of the signal."""
    krige = Krige(problem, lambda part: predict(part).mean, start.krige.field)
    return lambda part: Reconstruction(krige(part), predict(part).deviation)


def stacked(problem: Problem, first: Predict, second: Predict) -> tuple[Predict, Numbers]:
    """Return a weighted mean of two predictions without deviations, and how it was chosen.

    References
    ----------
    Wolpert, "Stacked generalization" (1992).
    """

    def mean(part: slice, share: float) -> Tensor:
        return torch.lerp(first(part).mean, second(part).mean, share)

    errors = {share: error(problem, mean(problem.validation, share)) for share in SHARES}
    best = min(errors, key=errors.__getitem__)
    named = {f"share {share:g}": found for share, found in errors.items()}
    return without_deviation(lambda part: mean(part, best)), {"held-out MAE": named}


def generators(problem: Problem, start: Start, other: Predict, folder: Path) -> Methods:
    """Return kriging with a covariance of each place, the generator, and its mean with another."""
    began = time.monotonic()
    covariance = start.stationary.covariance
    kriged = local.kriged_locally(problem, start.filled, covariance)
    learned = local.learned(problem, start.filled, kriged, covariance, folder / "moments.pt")
    # Of the run that learned: what goes on after a stop finds the moments made.
    spent = kept(folder / "seconds.pt", lambda: torch.tensor(time.monotonic() - began))
    chosen = {"kriging, local covariance": kriged, "generator": learned}

    def zero(part: slice) -> Tensor:
        return torch.zeros_like(problem.faces[part])

    fields = {name: GaussianField(found.covariance) for name, found in chosen.items()}
    methods = {
        name: without_deviation(Krige(problem, zero, field)) for name, field in fields.items()
    }
    numbers: dict[str, Numbers] = {
        name: {"held-out MAE": found.errors} for name, found in chosen.items()
    }
    numbers["generator"]["seconds of learning"] = float(spent)
    methods[STACKED], numbers[STACKED] = stacked(problem, methods["generator"], other)
    return Methods(methods, numbers, {"generator": of_field(problem, fields["generator"])})


def masked_vae(
    problem: Problem, setting: Setting, start: Start, seconds: float, folder: Path
) -> Methods:
    """Let a masked VAE learn for so many seconds; its decoder begins at the components."""
    torch.manual_seed(setting.seed)
    decoder = WarpedLinear(start.components.linear(), problem.faces.shape[1:])
    vae = MaskedVAE(
        decoder, setting.rank, setting.side, setting.width, NOISE, start.components.projection()
    ).to(setting.device)
    data = torch.cat([start.filled, problem.observed[:, :1]], 1)
    epochs = learn_vae(vae, mirrored(data[problem.train]), seconds, folder / "vae.pt", setting.seed)

    def predict(part: slice) -> Reconstruction:
        return vae.reconstruct(data[part])

    methods = {"masked VAE": predict, "masked VAE, kriged": with_kriging(problem, predict, start)}
    numbers = {"masked VAE": {"seconds of learning": seconds, "epochs": epochs}}
    return Methods(methods, numbers, {"masked VAE": of_decoder(problem, decoder, setting.rank)})


def papers_generator(problem: Problem, setting: Setting, folder: Path) -> Methods:
    """Learn and reconstruct as the paper does, by Langevin steps."""
    recipe, seed = setting.paper, setting.seed
    assert recipe is not None
    torch.manual_seed(seed)
    network = deconvnet(setting.rank, problem.faces.shape[1:], setting.width)
    observation = Masked(Gaussian(recipe.noise, torch.tanh))
    model = GeneratorModel(Normal(setting.rank), network, observation).to(setting.device)

    def tell(record: dict[str, float]) -> None:
        print(f"  loss {record['loss']:.1f} nats after {record['seconds']:.0f} s", flush=True)

    y = mirrored(problem.y[problem.train])
    fit = learn(model, y, recipe, folder / "fit.pt", seed, tell=tell)

    def drawn(part: slice) -> Tensor:
        path = folder / f"{part.start}.pt"
        return reconstruct(model, problem.y[part], recipe, path, seed)[0].mean

    numbers = {
        "seconds of learning": fit.history["seconds"][-1],
        "gradients of each training face": recipe.epochs * (recipe.steps + 2),
        "mean square of z": float(fit.latents.square().mean()),
    }

    def new(count: int, seed: int) -> Tensor:
        return model.generate(count, seed=seed).cpu().clamp(-1, 1)

    return Methods(
        {"generator": without_deviation(drawn)}, {"generator": numbers}, {"generator": new}
    )
