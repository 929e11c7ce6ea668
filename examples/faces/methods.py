"""The methods that reconstruct faces, each from settings to scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from explainaway.models import deconvnet

from .data import Faces, mirrored
from .decoders import WarpedLinear
from .generator import Recipe, learn, model_of, reconstruct, set_noise
from .principal import Principal
from .scores import Reconstruction, Scores, clipped, noise_of, scores
from .vae import VAE
from .vae import learn as learn_vae

TEST_NOISES = (0.25, 0.1)
"""Of which the scale of the generator's noise in reconstruction is chosen."""


@dataclass(frozen=True)
class Setting:
    """What a row is made with.

    Attributes
    ----------
    rank : int
        Number of latents, and of principal components.
    side : int
        Of the images, in pixels.
    decoder : "warped" or "deconvnet"
        Of the generator and of the VAE.
    width : int
        Channels of the largest hidden map of a deconvnet, and of the VAE's encoder.
    device : str
        Where generator and VAE are.
    seed : int
        Of everything.
    recipe : Recipe
        How the generator learns.
    """

    rank: int
    side: int
    decoder: str
    width: int
    device: str
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """What files of the row are called."""
        paper = "-paper" if self.recipe.as_paper else ""
        return f"{self.decoder}{paper}-{self.side}-d{self.rank}-seed{self.seed}"

    @property
    def is_warm(self) -> bool:
        """Whether learning starts at PCA."""
        return self.decoder == "warped"

    def network(self, principal: Principal) -> nn.Module:
        """Return the decoder at its start."""
        if self.is_warm:
            return WarpedLinear(principal.linear(), principal.shape)
        shape = (3, self.side, self.side)
        return deconvnet(self.rank, shape, self.width, batch_norm=self.recipe.as_paper)


class Result(NamedTuple):
    """What a method gives: reconstructions of the test faces, their scores, further numbers."""

    mean: Tensor
    scores: Scores
    numbers: dict[str, Any]


def generator(faces: Faces, setting: Setting, folder: Path) -> tuple[Result, float]:
    """Learn a generator and reconstruct by the posterior; return the seconds of learning too."""
    recipe, seed = setting.recipe, setting.seed
    train = faces.train if recipe.as_paper else mirrored(faces.train)
    principal = Principal(train, setting.rank)
    torch.manual_seed(seed)
    model = model_of(setting.network(principal), setting.rank, recipe, setting.device)
    fit = learn(
        model,
        train,
        recipe,
        folder / "fit.pt",
        seed,
        principal.scores(train) if setting.is_warm else None,
        lambda record: print(
            f"  loss {record['loss']:.1f} nats after {record['seconds']:.0f} s", flush=True
        ),
    )

    def made(images: Tensor, noise: float, name: str) -> tuple[Reconstruction, float]:
        set_noise(model, noise)
        start = principal.scores(images) if setting.is_warm else None
        made, seconds = reconstruct(
            model, images, recipe, folder / f"{name}-{noise}.pt", seed, start
        )
        return clipped(made), seconds

    noises = (recipe.noise,) if recipe.as_paper else TEST_NOISES
    held_out = {noise: made(faces.held_out, noise, "held-out") for noise in noises}
    errors = {
        noise: scores(faces.held_out, each, recipe.noise).mae
        for noise, (each, _) in held_out.items()
    }
    noise = min(noises, key=errors.__getitem__)
    test, testing = made(faces.test, noise, "test")
    seconds = fit.history["seconds"][-1]
    numbers = {
        "seconds of learning": seconds,
        "seconds of testing": testing,
        "gradients of each training face": recipe.epochs * (recipe.steps + 2),
        "held-out MAE by noise": {str(sigma): error for sigma, error in errors.items()},
        "noise in reconstruction": noise,
        "mean square of z": float(fit.latents.square().mean()),
    }
    result = scores(faces.test, test, noise_of(faces.held_out, held_out[noise][0]))
    return Result(test.mean, result, numbers), seconds


def pca(faces: Faces, rank: int) -> dict[str, Result]:
    """Reconstruct by principal components of all faces that are not for testing, in three ways.

    The noise of intervals is that of the held-out faces around components of the others.
    """
    known = torch.cat([faces.train, faces.held_out])
    plain = Principal(faces.train, rank), Principal(known, rank)
    both = Principal(mirrored(faces.train), rank), Principal(mirrored(known), rank)

    def result(made: Reconstruction, held_out: Reconstruction) -> Result:
        noise = noise_of(faces.held_out, held_out)
        return Result(made.mean, scores(faces.test, made, noise), {})

    by_squares = {
        name: result(whole.reconstruct(faces.test), apart.reconstruct(faces.held_out))
        for name, (apart, whole) in {"PCA": plain, "PCA with mirror images": both}.items()
    }
    apart, whole = both
    by_absolute = result(
        whole.reconstruct_by_absolute(faces.test), apart.reconstruct_by_absolute(faces.held_out)
    )
    return {**by_squares, "the same, least absolute error": by_absolute}


def vae(faces: Faces, setting: Setting, seconds: float, folder: Path) -> Result:
    """Let a VAE of the same decoder, from the same start, learn for so many seconds."""
    train = mirrored(faces.train)
    principal = Principal(train, setting.rank)
    torch.manual_seed(setting.seed)
    network, start = setting.network(principal), None
    if setting.is_warm:
        start = principal.projection()
    noise = setting.recipe.noise
    model = VAE(network, setting.rank, setting.side, setting.width, noise, start)
    model.to(setting.device)
    epochs = learn_vae(model, train, seconds, folder / "vae.pt", setting.seed)
    held_out, test = model.reconstruct(faces.held_out), model.reconstruct(faces.test)
    result = scores(faces.test, test, noise_of(faces.held_out, held_out))
    return Result(test.mean, result, {"seconds of learning": seconds, "epochs": epochs})
