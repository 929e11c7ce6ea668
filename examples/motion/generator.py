"""Generators of frames with latents that move: learned in two stages, or jointly."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from faces.decoders import WarpedLinear
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor, nn

from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    Langevin,
    SamplingWarning,
    sample_posterior,
)
from explainaway.linear_dynamical_system import LinearDynamicalSystem
from explainaway.models import VAR, Gaussian, GeneratorModel, Masked, Normal, OverTime, deconvnet
from explainaway.models.dynamics import least_squares
from explainaway.models.observations import Observation

from .data import Array


@dataclass(frozen=True)
class Recipe:
    """How generators learn.

    Attributes
    ----------
    epochs : int
        Passes through the video.
    warmup, draws : int
        Of the chains that fill a video or tell where a forecast begins.
    as_paper : bool
        A deconvolution network from random weights with batch normalisation, Langevin steps of
        0.1, Adam, dynamics by plain least squares.
    """

    epochs: int
    warmup: int = 60
    draws: int = 40
    as_paper: bool = False


class Start:
    """A linear system whose states have been given unit covariance: where a decoder begins."""

    def __init__(self, model: LinearDynamicalSystem, shape: torch.Size) -> None:
        root = np.linalg.cholesky(model.start)
        self.model, self.shape, self.root = model, shape, root
        self.spread = np.ones(len(root))

    def linear(self) -> nn.Linear:
        """Return the map from latents to flat frames."""
        layer = nn.Linear(len(self.root), len(self.model.mean))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.model.loadings @ self.root))
            layer.bias.copy_(torch.from_numpy(self.model.mean))
        return layer

    def latents(self, states: Array) -> Tensor:
        """Return states (..., d) as latents."""
        solved = np.linalg.solve(self.root, states[..., None])[..., 0]
        return torch.from_numpy(solved.astype(np.float32))


class Learned(NamedTuple):
    """A model of a video, the latents of its frames (T, d) and the mean of its signal."""

    model: GeneratorModel
    latents: Tensor
    signal: Tensor


def _network(start: Start, recipe: Recipe) -> nn.Module:
    dim = len(start.spread)
    if recipe.as_paper:
        return deconvnet(dim, tuple(start.shape), width=64, batch_norm=True)
    moved: nn.Module = WarpedLinear(start.linear(), start.shape)
    return moved


def _noise(start: Start, recipe: Recipe) -> Observation:
    scale = 0.3 if recipe.as_paper else float(start.model.noise_variance) ** 0.5
    return Masked(Gaussian(scale, torch.tanh if recipe.as_paper else None))


def two_stage(
    y: Tensor, start: Start, states: Tensor, prior_states: float, recipe: Recipe, seed: int
) -> Learned:
    """Learn frames as independent examples, then the dynamics of their latents.

    Parameters
    ----------
    y : Tensor, (T, 3, h, w)
        NaN where missing; a frame that is missing as a whole is left out of the first stage, and
        its latent lies between its neighbours' in the second.
    start : Start
        Where the decoder begins.
    states : Tensor, (T, d)
        Where the chains begin.
    prior_states : float
        Draw the transition towards zero.
    recipe, seed
        Of the run.
    """
    torch.manual_seed(seed)
    seen = (~y.isnan()).flatten(1).any(1)
    dim, length = states.shape[1], len(y)
    frames = GeneratorModel(Normal(dim), _network(start, recipe), _noise(start, recipe))
    fit = AlternatingBackProp(
        frames,
        Langevin(step_size=0.1) if recipe.as_paper else MALA(),
        inference_steps=10 if recipe.as_paper else 5,
        optimizer=torch.optim.Adam(frames.parameters(), lr=1e-3) if recipe.as_paper else None,
        batch_size=length if recipe.as_paper else -(-int(seen.sum()) // 3),
    ).fit(
        y[seen],
        epochs=recipe.epochs,
        seed=seed,
        latents=None if recipe.as_paper else states[seen],
        progress=False,
    )
    times = np.arange(length)
    columns = [np.interp(times, times[seen.numpy()], column) for column in fit.latents.numpy().T]
    latents = torch.from_numpy(np.stack(columns, 1).astype(np.float32))
    dynamics = least_squares(latents, 0.0 if recipe.as_paper else prior_states)
    prior = VAR(dim, length, *dynamics)
    model = GeneratorModel(prior, OverTime(frames.network), frames.observation)
    assert fit.mean_signal is not None
    signal = torch.full_like(y, torch.nan)
    signal[seen] = fit.mean_signal
    return Learned(model, latents, signal)


def joint(
    y: Tensor, start: Start, states: Tensor, prior_states: float, recipe: Recipe, seed: int
) -> Learned:
    """Learn network and dynamics together: the whole video is one example.

    Parameters as in :func:`two_stage`.
    """
    torch.manual_seed(seed)
    dim, length = states.shape[1], len(y)
    prior = VAR(dim, length, transition=0.0, learn="closed form", prior_states=prior_states)
    network = OverTime(_network(start, recipe))
    model = GeneratorModel(prior, network, _noise(start, recipe))
    fit = AlternatingBackProp(model, HMC(5), inference_steps=1).fit(
        y[None], epochs=recipe.epochs, seed=seed, latents=states[None], progress=False
    )
    assert fit.mean_signal is not None
    return Learned(model, fit.latents[0], fit.mean_signal[0])


def posterior_means(
    learned: Learned, videos: Tensor, states: Tensor, recipe: Recipe, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the means of latents (n, T, d) and signals given videos (n, T, 3, h, w)."""
    model = learned.model
    prior = model.prior
    assert isinstance(prior, VAR)
    model = GeneratorModel(prior.of_length(videos.shape[1]), model.network, model.observation)
    with warnings.catch_warnings():
        # A mean of the signal needs fewer draws than an interval of a latent would.
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = sample_posterior(
            model,
            videos,
            kernel=HMC(5),
            num_chains=1,
            warmup_steps=recipe.warmup,
            num_samples=recipe.draws,
            seed=seed,
            init_strategy=init_to_value(values={"z": states}),
            accumulate={"signal": model.decode},
            progress=False,
        )
    return posterior.get_samples()["z"].mean(0), posterior.accumulated["signal"].mean


@torch.no_grad()
def continued(learned: Learned, latents: Tensor, steps: int) -> Tensor:
    """Return the decoded means of the latents that follow (n, d): (n, steps, 3, h, w)."""
    prior = learned.model.prior
    assert isinstance(prior, VAR)
    ahead = []
    for _ in range(steps):
        latents = latents @ prior.transition.mT
        ahead.append(latents)
    model = GeneratorModel(prior.of_length(steps), learned.model.network, learned.model.observation)
    return model.decode(torch.stack(ahead, 1))
