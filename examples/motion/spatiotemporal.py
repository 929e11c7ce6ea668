"""A generator of whole clips: deconvolutions in space and time around the mean frame."""

import time

import torch
from torch import Tensor, nn

from explainaway.inference import MALA, AlternatingBackProp
from explainaway.models import Gaussian, GeneratorModel, Normal, video_deconvnet

from .generator import Recipe
from .scores import Outcome

FRAMES = 64
CHANNELS = 8
LAYERS = 3


class AroundMean(nn.Module):
    """A mean frame that is learned, and what a network of clips adds to it."""

    def __init__(self, mean: Tensor, network: nn.Module) -> None:
        super().__init__()
        self.mean, self.network = nn.Parameter(mean.clone()), network

    def forward(self, z: Tensor) -> Tensor:
        """Return clips (n, 3, T, h, w)."""
        made: Tensor = self.mean[:, None] + self.network(z)
        return made


def clips(video: Tensor, recipe: Recipe, seed: int, width: int = 16) -> Outcome:
    """Learn the first frames as one clip of a latent map; return it as fitted, and a new one.

    A latent of 8 channels stands for 8 frames and 8 x 8 pixels; it makes eight times the
    recipe's epochs, which are of one step each.
    """
    past = video[:FRAMES]
    first = past.mean(0)
    torch.manual_seed(seed)
    size = [side // 2**LAYERS for side in (len(past), *past.shape[2:])]
    network = AroundMean(first, video_deconvnet(CHANNELS, 3, LAYERS, width))
    model = GeneratorModel(Normal((CHANNELS, *size), learn=True), network, Gaussian(0.2))
    began = time.process_time()
    fit = AlternatingBackProp(model, MALA(), inference_steps=5).fit(
        past.transpose(0, 1)[None], epochs=8 * recipe.epochs, seed=seed, progress=False
    )
    minutes = {"clips": (time.process_time() - began) / 60}
    assert fit.mean_signal is not None
    new = model.generate(1, seed=seed)[0].transpose(0, 1)
    fitted = fit.mean_signal[0].transpose(0, 1)
    latents = {"mean square of z": float(fit.latents.square().mean())}
    return Outcome({"clips": fitted}, latents, minutes, {"clips": new})
