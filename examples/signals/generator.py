"""Learning a stationary generator from one image or sound, and making larger ones by it."""

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor, nn

from explainaway.inference import AlternatingBackProp, Langevin
from explainaway.models import Gaussian, GeneratorModel, Normal
from explainaway.resampling import phase_noise, quilted


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
    network: Callable[[Recipe], nn.Module],
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
    network : callable
        From a recipe to the network.
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
    body = network(recipe)
    sizes = [size // upsampling**recipe.num_layers for size in exemplar.shape[1:]]

    def model(sizes: list[int]) -> GeneratorModel:
        prior = Normal((recipe.latent_channels, *sizes), learn=recipe.learn_prior)
        return GeneratorModel(prior, body, Gaussian(recipe.noise, torch.tanh)).to(device)

    small, large = model(sizes), model([2 * size for size in sizes])
    abp = AlternatingBackProp(
        small,
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
    if recipe.learn_prior:
        # What is learned is of one cell, and holds in a map of any size.
        large.prior.load_state_dict(small.prior.state_dict())
    explained = small.reconstruct(fit.latents)[0].cpu()
    return Learned(
        large,
        fit.latents[0].cpu(),
        explained,
        {
            "seconds": seconds * recipe.iterations,
            "seconds of an iteration": seconds,
            "rmse": float((explained - exemplar).square().mean().sqrt()) / 2,
            "mean square of z": float(fit.latents.square().mean()),
        },
    )


def made_by(learned: Learned, exemplar: Tensor, seed: int) -> dict[str, Tensor]:
    """Return signals twice as long in each dimension, by the way they were made.

    Latents are drawn from the prior, or are blocks of those of the exemplar, which the network
    joins. A filter and noise make the spectrum that of the exemplar.

    Parameters
    ----------
    learned : Learned
        The generator.
    exemplar : Tensor, (channels, ...)
        What it has learned.
    seed : int
        Of the draws.
    """
    drawn = learned.larger.generate(1, seed=seed)[0].cpu()
    latents = in_blocks(learned.latents, seed)
    joined = learned.larger.reconstruct(latents[None])[0].cpu()
    return {
        "generator": drawn,
        "generator, filter, noise": with_spectrum(exemplar, drawn, seed),
        "blocks of latents, filter, noise": with_spectrum(exemplar, joined, seed),
    }


def with_spectrum(exemplar: Tensor, made: Tensor, seed: int) -> Tensor:
    """Return what was made with its mean and its power at each frequency made the exemplar's.

    Where there is too much it is filtered, where there is too little normal noise is added: a
    linear filter after the network, and the observation's noise. Powers are those of the
    exemplar's principal channels (colours), means over 9 neighbouring frequencies in each
    dimension.

    Parameters
    ----------
    exemplar : Tensor, (channels, ...)
        Whose spectrum it is.
    made : Tensor, (channels, ...)
        Twice as long in each dimension.
    seed : int
        Of the noise.
    """
    count = len(exemplar)
    mean = exemplar.flatten(1).mean(1)
    covariance = exemplar.flatten(1).cov().reshape(count, count)
    axes = torch.linalg.eigh(covariance).eigenvectors

    def principal(signal: Tensor) -> NDArray[np.float64]:
        centred = (signal.flatten(1) - mean[:, None]).double().numpy()
        rotated: NDArray[np.float64] = (axes.T.double().numpy() @ centred).reshape(signal.shape)
        return rotated

    pairs = zip(principal(exemplar), principal(made), strict=True)
    channels = [_matched(one, other, seed + c) for c, (one, other) in enumerate(pairs)]
    back: Tensor = axes @ torch.tensor(np.stack(channels)).float().flatten(1) + mean[:, None]
    return back.reshape(made.shape)


def _matched(
    exemplar: NDArray[np.float64], made: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Do so for one channel, of mean zero."""
    size = exemplar.shape
    there = made[tuple(map(slice, size))]
    spectra = [np.fft.fftn(one - one.mean()) for one in (exemplar, there)]
    powers = [uniform_filter(abs(one) ** 2, 9, mode="wrap") for one in spectra]
    # Running sums leave rounding errors where there is nothing.
    wanted, found = (np.maximum(power, 1e-9 * power.mean()) for power in powers)
    missing = np.fft.ifftn(spectra[0] * np.sqrt(np.maximum(1 - found / wanted, 0))).real
    noise = phase_noise(missing[None], made.shape, seed)[0]
    # Twice as long has each frequency twice.
    gain = np.sqrt(np.minimum(wanted / found, 1))[np.ix_(*[np.arange(2 * n) // 2 for n in size])]
    matched: NDArray[np.float64] = np.fft.ifftn(np.fft.fftn(made - made.mean()) * gain).real + noise
    return matched


def in_blocks(latents: Tensor, seed: int) -> Tensor:
    """Return blocks of a latent map (c, ...) as one twice as long in each dimension.

    Of an image they are a quilt of 6x6 cells; of a sound they are fifteenths of it, at random.
    """
    size = latents.shape[1:]
    if len(size) == 2:
        made = quilted(latents.double().numpy(), (2 * size[0], 2 * size[1]), min(6, *size), seed)
        return torch.tensor(made).to(latents)
    block = max(size[0] // 15, 2)
    starts = torch.randint(
        size[0] - block + 1, (2 * size[0],), generator=torch.Generator().manual_seed(seed)
    )
    blocks = [latents[:, start : start + block] for start in starts.tolist()]
    return torch.cat(blocks, 1)[:, : 2 * size[0]]
