"""Learning a stationary generator from one image or sound."""

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from explainaway.inference import AlternatingBackProp, Langevin
from explainaway.models import Gaussian, GeneratorModel, Normal


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
    rate : float
        Adam's.
    learn_prior : bool
        Whether the prior follows the chains.
    """

    width: int
    latent_channels: int
    num_layers: int
    noise: float
    iterations: int
    steps: int
    rate: float
    batch_norm: bool
    learn_prior: bool


class Learned(NamedTuple):
    """A generator that has learned an exemplar.

    Attributes
    ----------
    larger : GeneratorModel
        It, of signals twice as long in each dimension.
    latents : Tensor, (c, ...)
        The exemplar's.
    explained : Tensor, (channels, ...)
        The exemplar, decoded from them.
    numbers : dict of float
        Seconds of processor time, of one iteration too, and where learning has ended.
    """

    larger: GeneratorModel
    latents: Tensor
    explained: Tensor
    numbers: dict[str, float]


def learn(
    exemplar: Tensor,
    build: Callable[..., nn.Module],
    upsampling: int,
    recipe: Recipe,
    checkpoint: Path,
    seed: int,
    device: str,
) -> Learned:
    """Learn from one example, from the checkpoint on if it exists.

    Parameters
    ----------
    exemplar : Tensor, (channels, ...)
        In [-1, 1], of sizes that ``upsampling ** num_layers`` divides.
    build : callable
        Makes the network: ``texture_deconvnet`` or ``sound_deconvnet``.
    upsampling : int
        Of each of its layers.
    recipe : Recipe
        How.
    checkpoint : Path
        File of the run.
    seed : int
        Of the weights and the run.
    device : str
        Where it runs.
    """
    torch.manual_seed(seed)
    body = build(
        latent_channels=recipe.latent_channels,
        num_layers=recipe.num_layers,
        width=recipe.width,
        batch_norm=recipe.batch_norm,
    )
    sizes = [size // upsampling**recipe.num_layers for size in exemplar.shape[1:]]
    prior = Normal((recipe.latent_channels, *sizes), learn=recipe.learn_prior)
    model = GeneratorModel(prior, body, Gaussian(recipe.noise, torch.tanh)).to(device)
    abp = AlternatingBackProp(
        model,
        Langevin(step_size=0.1),
        inference_steps=recipe.steps,
        optimizer=torch.optim.Adam(body.parameters(), lr=recipe.rate),
    )
    began, epochs = time.process_time(), 0

    def count(history: Mapping[str, Sequence[float]]) -> bool:
        # A callback would have the model in hands, and each iteration be compared with it.
        nonlocal epochs
        epochs += 1
        return False

    with warnings.catch_warnings():
        # One example is learned by heart, and as long as it is the loss falls.
        warnings.simplefilter("ignore", UserWarning)
        fit = abp.fit(
            exemplar[None],
            epochs=recipe.iterations,
            seed=seed,
            checkpoint=checkpoint,
            posterior_means=False,
            progress=False,
            stop=count,
        )
    costs = checkpoint.with_suffix(".json")
    if epochs:
        # Of the iterations that were made here: a run that was stopped goes on.
        costs.write_text(json.dumps((time.process_time() - began) / epochs))
    seconds = json.loads(costs.read_text())
    larger = prior.on_map(*[2 * size for size in sizes])
    explained = model.reconstruct(fit.latents)[0].cpu()
    return Learned(
        GeneratorModel(larger, body, model.observation),
        fit.latents[0].cpu(),
        explained,
        {
            "seconds": seconds * recipe.iterations,
            "seconds of an iteration": seconds,
            "rmse": float((explained - exemplar).square().mean().sqrt()) / 2,
            "mean square of z": float(fit.latents.square().mean()),
        },
    )
