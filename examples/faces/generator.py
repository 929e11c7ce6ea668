"""Learning a generator of faces, and reconstructing faces that it has not seen."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor, nn

from explainaway.inference import (
    MALA,
    AlternatingBackProp,
    Fit,
    Langevin,
    SamplingWarning,
    sample_posterior,
)
from explainaway.models import Gaussian, GeneratorModel, Normal
from explainaway.models.observations import Laplace, Observation

from .scores import Reconstruction


@dataclass(frozen=True)
class Recipe:
    """How a generator learns, and how it reconstructs.

    Attributes
    ----------
    noise : float
        Scale of a pixel's noise in learning, of a range of 2.
    epochs : int
        Passes through the data.
    steps : int
        Kernel steps at each visit.
    batch_size : int
        Examples in a minibatch.
    chains : int
        Of each face that is reconstructed.
    warmup, draws : int
        Steps of MALA that are thrown away, and that are averaged.
    as_paper : bool
        Langevin steps in learning (s = 0.1) and in reconstruction (s = 0.05, from N(0, I), the
        last one is taken), a prior that is not learned, Gaussian noise around a tanh, Adam.
    """

    noise: float
    epochs: int
    steps: int
    batch_size: int
    chains: int
    warmup: int
    draws: int
    as_paper: bool = False


RECIPE = Recipe(noise=0.25, epochs=60, steps=5, batch_size=50, chains=2, warmup=100, draws=50)
"""Our settings, for an hour on two cores."""

PAPER = Recipe(
    noise=0.3,
    epochs=600,
    steps=10,
    batch_size=100,
    chains=1,
    warmup=299,
    draws=1,
    as_paper=True,
)
"""Those of Han et al. (2017), Experiment 7."""


def model_of(network: nn.Module, latent_dim: int, recipe: Recipe, device: str) -> GeneratorModel:
    """Return the generator: a prior, a decoder, noise.

    Laplace noise weighs absolute errors, which are what is compared.
    """
    if recipe.as_paper:
        noise: Observation = Gaussian(recipe.noise, torch.tanh)
    else:
        noise = Laplace(recipe.noise)
    prior = Normal(latent_dim, learn=not recipe.as_paper)
    return GeneratorModel(prior, network, noise).to(device)


def set_noise(model: GeneratorModel, noise: float) -> None:
    """Set the scale of a pixel's noise."""
    observation = model.observation
    assert isinstance(observation, Gaussian | Laplace)
    with torch.no_grad():
        observation.log_scale.fill_(math.log(noise))


def learn(
    model: GeneratorModel,
    images: Tensor,
    recipe: Recipe,
    checkpoint: Path,
    seed: int,
    latents: Tensor | None = None,
    tell: Callable[[dict[str, float]], None] = lambda record: None,
) -> Fit:
    """Learn from images, from the checkpoint on if it exists.

    Parameters
    ----------
    model : GeneratorModel
        Learns.
    images : Tensor, (n, 3, side, side)
        Learned from.
    recipe : Recipe
        How.
    checkpoint : Path
        File of the run.
    seed : int
        Of the run.
    latents : Tensor, (n, d), optional
        Where the chains start.
    tell : callable
        Is told each epoch's record.
    """
    abp = AlternatingBackProp(
        model,
        Langevin(step_size=0.1) if recipe.as_paper else MALA(),
        inference_steps=recipe.steps,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3) if recipe.as_paper else None,
        batch_size=recipe.batch_size,
    )
    return abp.fit(
        images,
        epochs=recipe.epochs,
        seed=seed,
        latents=latents,
        checkpoint=checkpoint,
        posterior_means=False,
        hold_out=None,
        progress=False,
        callbacks=[lambda loop, record: tell(record)],
    )


def reconstruct(
    model: GeneratorModel,
    images: Tensor,
    recipe: Recipe,
    path: Path,
    seed: int,
    latents: Tensor | None = None,
) -> tuple[Reconstruction, float]:
    """Return the posterior mean and deviation of the decoded signal, and the seconds it took.

    Parameters
    ----------
    model : GeneratorModel
        Has learned.
    images : Tensor, (n, 3, side, side)
        To be reconstructed.
    recipe : Recipe
        How many chains and draws.
    path : Path
        File that the result is kept in, and taken from if it exists; beside it the run's
        checkpoint, from which a run that was stopped goes on.
    seed : int
        Of the run.
    latents : Tensor, (n, d), optional
        Where all chains start; by default at draws from the prior.
    """
    if path.exists():
        mean, deviation, seconds = torch.load(path, weights_only=True)
        return Reconstruction(mean, deviation), seconds
    began = time.monotonic()
    start = None if latents is None else init_to_value(values={"z": latents})
    with warnings.catch_warnings():
        # A mean of the signal needs fewer draws than an interval of a latent would.
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = sample_posterior(
            model,
            images,
            kernel=Langevin(step_size=0.05) if recipe.as_paper else MALA(mass="auto"),
            num_chains=recipe.chains,
            warmup_steps=recipe.warmup,
            num_samples=recipe.draws,
            seed=seed,
            init_strategy=start,
            accumulate={"signal": model.decode},
            checkpoint=path.with_suffix(".run.pt"),
            progress=False,
        )
    moments = posterior.accumulated["signal"]
    made = Reconstruction(moments.mean.cpu(), moments.variance.cpu().sqrt())
    seconds = time.monotonic() - began
    torch.save((*made, seconds), path)
    return made, seconds
