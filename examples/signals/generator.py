"""Learning a stationary generator from one image or sound, and making a larger one by it."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from explainaway.inference import MALA, AlternatingBackProp, Langevin
from explainaway.models import Gaussian, GeneratorModel, Normal
from explainaway.resampling import phase_noise


@dataclass(frozen=True)
class Recipe:
    """How a generator is built and learns.

    Attributes
    ----------
    width : int
        Channels of the last hidden layer, doubled at each layer above it.
    latent_channels : int
        Of the latent map.
    num_layers : int
        Deconvolutions.
    noise : float
        Scale of the observation's noise, of a range of 2.
    iterations : int
        Steps of the weights; there is one example, so that an epoch is one.
    steps : int
        Kernel steps in each.
    batch_norm : bool
        Batch normalisation after each hidden layer.
    as_paper : bool
        Langevin steps (s = 0.1), a prior that is not learned, Adam at 1e-3.
    """

    width: int
    latent_channels: int
    num_layers: int
    noise: float
    iterations: int
    steps: int
    batch_norm: bool = False
    as_paper: bool = False


class Synthesis(NamedTuple):
    """What a generator made.

    Attributes
    ----------
    reconstruction : Tensor, (channels, ...)
        The exemplar, decoded from its latents.
    synthesis : Tensor, (channels, ...)
        Twice as long in each dimension, decoded from new latents.
    numbers : dict of float
        Seconds of processor time, of one iteration too, and what the chain ended with.
    """

    reconstruction: Tensor
    synthesis: Tensor
    numbers: dict[str, float]


def synthesised(
    exemplar: Tensor,
    network: Callable[[Recipe], nn.Module],
    upsampling: int,
    recipe: Recipe,
    checkpoint: Path,
    seed: int,
    device: str,
) -> Synthesis:
    """Learn from one example and generate a larger one.

    Parameters
    ----------
    exemplar : Tensor, (channels, ...)
        In [-1, 1], of sizes that ``upsampling ** num_layers`` divides.
    network : callable
        From a recipe to the network.
    upsampling : int
        Of each of its layers.
    recipe : Recipe
        How.
    checkpoint : Path
        File of the run.
    seed : int
        Of the weights, the run and the synthesis.
    device : str
        Where it runs.
    """
    torch.manual_seed(seed)
    body = network(recipe)
    sizes = [size // upsampling**recipe.num_layers for size in exemplar.shape[1:]]

    def model(sizes: list[int]) -> GeneratorModel:
        prior = Normal((recipe.latent_channels, *sizes), learn=not recipe.as_paper)
        return GeneratorModel(prior, body, Gaussian(recipe.noise, torch.tanh)).to(device)

    small, large = model(sizes), model([2 * size for size in sizes])
    abp = AlternatingBackProp(
        small,
        Langevin(step_size=0.1) if recipe.as_paper else MALA(),
        inference_steps=recipe.steps,
        optimizer=torch.optim.Adam(body.parameters(), lr=1e-3) if recipe.as_paper else None,
    )
    began = time.process_time()
    with warnings.catch_warnings():
        # One example cannot be learned to the end: the loss falls as long as it is learned by heart.
        warnings.simplefilter("ignore", UserWarning)
        fit = abp.fit(
            exemplar[None],
            epochs=recipe.iterations,
            seed=seed,
            checkpoint=checkpoint,
            posterior_means=False,
            progress=False,
        )
    seconds = time.process_time() - began
    # What the prior has learned is of one cell, and holds in a map of any size.
    large.prior.load_state_dict(small.prior.state_dict(), strict=not recipe.as_paper)
    reconstruction = small.reconstruct(fit.latents)[0].cpu()
    return Synthesis(
        reconstruction,
        large.generate(1, seed=seed)[0].cpu(),
        {
            "seconds": seconds,
            "seconds of an iteration": seconds / recipe.iterations,
            "rmse": float((reconstruction - exemplar).square().mean().sqrt()) / 2,
            "mean square of z": float(fit.latents.square().mean()),
        },
    )


def residual_noise(exemplar: Tensor, made: Synthesis, seed: int) -> Tensor:
    """Return normal noise with the spectrum of what is left of the exemplar, of the new size."""
    residual = (exemplar - made.reconstruction).double().numpy()
    size = tuple(made.synthesis.shape[1:])
    return torch.tensor(phase_noise(residual, size, seed + 1)).float()
