"""Two latents of a few faces, seen as a grid; the way between two faces."""

import torch
from torch import Tensor

from explainaway.inference import MALA, AlternatingBackProp, Langevin
from explainaway.models import Gaussian, GeneratorModel, Normal, deconvnet

REACH = 2.0
"""Of the grid, in standard deviations of the prior."""


def two_latents(
    images: Tensor, width: int, epochs: int, seed: int, as_paper: bool
) -> tuple[Tensor, Tensor]:
    """Learn a deconvolution network of two latents; return its grid (81, 3, h, w) and fits.

    The prior is learned, so that the images lie within the grid and not far outside; or, as in
    the paper, it is N(0, I), and the kernel Langevin's of step 0.1, the optimizer Adam.
    """
    torch.manual_seed(seed)
    network = deconvnet(2, tuple(images.shape[1:]), width, batch_norm=as_paper)
    model = GeneratorModel(Normal(2, learn=not as_paper), network, Gaussian(0.3, torch.tanh))
    fit = AlternatingBackProp(
        model,
        Langevin(step_size=0.1) if as_paper else MALA(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3) if as_paper else None,
        batch_size=len(images),
    ).fit(images, epochs=epochs, seed=seed, progress=False)
    assert fit.mean_signal is not None
    places = torch.linspace(-REACH, REACH, 9)
    latents = model.prior.starts(torch.cartesian_prod(places, places))
    return model.decode(latents), fit.mean_signal


def between(model: GeneratorModel, first: Tensor, second: Tensor, steps: int = 9) -> Tensor:
    """Return images on the great circle from some latents (n, d) to others, (n, steps, ...).

    References
    ----------
    Shoemake, "Animating rotation with quaternion curves" (1985).
    """
    cosine = torch.nn.functional.cosine_similarity(first, second)
    angle: Tensor = cosine.clamp(-0.9999, 0.9999).arccos()[:, None, None]
    share = torch.linspace(0, 1, steps)[:, None]
    start, end = ((1 - share) * angle).sin(), (share * angle).sin()
    latents: Tensor = (start * first[:, None] + end * second[:, None]) / angle.sin()
    images: Tensor = model.decode(latents.flatten(0, 1)).unflatten(0, (len(first), steps))
    return images
