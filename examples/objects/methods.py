"""Generators of faces by four methods, each as a model whose posterior can be sampled."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from faces.decoders import WarpedLinear
from faces.generator import Recipe
from faces.generator import learn as learn_by_chains
from faces.principal import Principal
from faces.vae import VAE
from faces.vae import learn as learn_vae
from torch import Tensor, nn

from explainaway.models import GeneratorModel, Normal, deconvnet
from explainaway.models.observations import Laplace

from . import gan


@dataclass(frozen=True)
class Setting:
    """What a row is made with.

    Attributes
    ----------
    rank : int
        Number of latents.
    side : int
        Of the images, in pixels.
    decoder : "warped" or "deconvnet"
        Of all generators: the pixels of PCA's images are moved, or the paper's network.
    width : int
        Channels of the largest hidden map, of the VAE's encoder and the discriminator too.
    seed : int
        Of everything.
    recipe : Recipe
        How the generator learns; the others have the same time.
    """

    rank: int
    side: int
    decoder: str
    width: int
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """What the folder of the row is called; what another row has made is not taken."""
        size = f"{self.decoder}-{self.width}-{self.side}-d{self.rank}"
        return f"{size}-{self.recipe.epochs}-seed{self.seed}"

    def network(self, principal: Principal) -> nn.Module:
        """Return the decoder at its start."""
        torch.manual_seed(self.seed)
        if self.decoder == "warped":
            moved: nn.Module = WarpedLinear(principal.linear(), principal.shape)
            return moved
        return deconvnet(self.rank, (3, self.side, self.side), self.width, batch_norm=False)


class Generator(NamedTuple):
    """A model that generates, the latents that learning ended with, and how long it was."""

    model: GeneratorModel
    latents: Tensor | None
    numbers: dict[str, Any]


class Components(nn.Module):
    """Principal components as a decoder."""

    def __init__(self, principal: Principal) -> None:
        super().__init__()
        self.layer, self.shape = principal.linear(), principal.shape

    def forward(self, z: Tensor) -> Tensor:
        """Return images (n, 3, side, side)."""
        images: Tensor = self.layer(z).unflatten(1, self.shape)
        return images


def generators(train: Tensor, setting: Setting, folder: Path) -> dict[str, Generator]:
    """Learn from images (n, 3, side, side) by each method."""
    principal = Principal(train, setting.rank)
    is_warm = setting.decoder == "warped"
    noise = Laplace(setting.recipe.noise)

    def of(decoder: nn.Module) -> GeneratorModel:
        return GeneratorModel(Normal(setting.rank), decoder, noise)

    ours = GeneratorModel(Normal(setting.rank, learn=True), setting.network(principal), noise)
    start = principal.scores(train) if is_warm else None
    fit = learn_by_chains(ours, train, setting.recipe, folder / "fit.pt", setting.seed, start)
    seconds = fit.history["seconds"][-1]
    vae = VAE(
        setting.network(principal),
        setting.rank,
        setting.side,
        setting.width,
        setting.recipe.noise,
        principal.projection() if is_warm else None,
    )
    of_vae = learn_vae(vae, train, seconds, folder / "vae.pt", setting.seed)
    against = setting.network(principal)
    began = time.monotonic()
    of_gan = gan.learn(against, train, setting.rank, seconds, setting.seed, setting.width)
    return {
        "generator": Generator(
            ours, fit.latents, {"seconds": seconds, "epochs": setting.recipe.epochs}
        ),
        "VAE": Generator(of(vae.decoder), None, {"seconds": seconds, "epochs": of_vae}),
        "GAN": Generator(
            of(against), None, {"seconds": time.monotonic() - began, "epochs": of_gan}
        ),
        "PCA": Generator(of(Components(principal)), None, {}),
    }
