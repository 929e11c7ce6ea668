"""New faces, drawn from what was learned of incomplete ones (T2)."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from explainaway.gaussian_fields import GaussianField
from explainaway.plots import save_panels

from .incomplete import Problem
from .report import in_colour

COUNT = 1000
"""New faces of each method that are scored."""

SHOWN = 8

Draw = Callable[[int, int], Tensor]
"""From how many and a seed to faces (n, 3, side, side) in [-1, 1]."""


def colours(y: Tensor) -> Tensor:
    """Return the covariance (3, 3) of a pixel's colours, over its mean variance.

    Parameters
    ----------
    y : Tensor, (n, 3, h, w)
        Standardised images, NaN where hidden.
    """
    seen = y.transpose(0, 1)[:, ~y[:, 0].isnan()]
    found = seen @ seen.mT
    return 3 * found / found.trace()


def of_field(problem: Problem, field: GaussianField) -> Draw:
    """Return draws whose colours hang together as those of the observed pixels do.

    The covariance is that of the places times that of the colours. Since the colours of a pixel
    are hidden together, all predictions are what they are with colours that are independent.
    """
    mixing = torch.linalg.cholesky(colours(problem.y[problem.train]))

    def draw(count: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        white = torch.randn(count, 3, len(field.covariance), generator=generator)
        made = (mixing @ white) @ field.factor.mT
        return problem.image(made.unflatten(2, problem.faces.shape[2:])).clamp(-1, 1)

    return draw


def of_decoder(problem: Problem, decoder: nn.Module, rank: int) -> Draw:
    """Return draws that are decoded from N(0, I), without noise."""

    @torch.no_grad()
    def draw(count: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        device = next(decoder.parameters()).device
        latents = torch.randn(count, rank, generator=generator).to(device)
        made = torch.cat([decoder(some).cpu() for some in latents.split(100)])
        return problem.image(made.reshape(-1, *problem.faces.shape[1:])).clamp(-1, 1)

    return draw


def few(path: Path, images: Mapping[str, Tensor]) -> Path:
    """Write the first of some images (n, 3, side, side) by name, NaN where they are hidden."""
    drawn = {name: in_colour(some[:SHOWN]) for name, some in images.items()}
    return save_panels(path, drawn, width=5.5)
