"""How good reconstructions are, and how well they know it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = (0.5, 0.8, 0.95)
STANDARD = torch.distributions.Normal(0.0, 1.0)


class Reconstruction(NamedTuple):
    """Gaussian predictions of pixels.

    Attributes
    ----------
    mean : Tensor, (n, ...)
        Of the image, in [-1, 1].
    deviation : Tensor, (n, ...) or what broadcasts to it
        Standard deviation of the signal, without noise.
    """

    mean: Tensor
    deviation: Tensor


def clipped(made: Reconstruction) -> Reconstruction:
    """Return a reconstruction whose mean is a possible image."""
    return made._replace(mean=made.mean.clamp(-1, 1))


class Scores(NamedTuple):
    """Errors over pixels, relative to the range of their values.

    Attributes
    ----------
    mae : float
        Mean absolute error.
    mae_error : float
        Its standard error, over images.
    rmse : float
        Root mean square error.
    crps : float
        Mean continuous ranked probability score.
    coverage : dict of float
        Share of the pixels within the central interval of each level.
    """

    mae: float
    mae_error: float
    rmse: float
    crps: float
    coverage: dict[str, float]


def noise_of(truth: Tensor, made: Reconstruction) -> Tensor:
    """Return each pixel's noise (...) that explains the residuals of held-out images.

    Its variance is their mean square less the variance of the signal, at least a hundredth of it.
    """
    square = (truth - made.mean).square().mean(0)
    signal = made.deviation.square().expand_as(made.mean).mean(0)
    return (square - signal).clamp(min=square / 100).clamp(min=1e-8).sqrt()


def scores(
    truth: Tensor,
    made: Reconstruction,
    noise: Tensor | float,
    levels: Sequence[float] = LEVELS,
    value_range: float = 2.0,
    cells: Tensor | None = None,
    widths: Sequence[float] | None = None,
) -> Scores:
    """Score predictions ``N(mean, deviation² + noise²)`` of each pixel.

    Parameters
    ----------
    truth : Tensor, (n, ...)
        The images.
    made : Reconstruction
        Their reconstructions.
    noise : Tensor or float
        Standard deviation of what is added to the signal; broadcasts to an image.
    levels : sequence of float
        Of the intervals.
    value_range : float, default 2
        Largest possible minus smallest possible value.
    cells : bool Tensor, (n, ...), optional
        Those that are scored, some of each image; by default all.
    widths : sequence of float, optional
        Half of each level's interval, in standard deviations; by default the normal one's.

    References
    ----------
    Gneiting & Raftery, "Strictly proper scoring rules, prediction, and estimation" (2007), eq. 21
    for the score of a normal prediction.
    """
    residual = truth - made.mean
    total = (made.deviation.square() + torch.as_tensor(noise).square()).sqrt().expand_as(residual)
    scored = torch.ones_like(truth, dtype=torch.bool) if cells is None else cells
    t = (residual / total)[scored]
    density = STANDARD.log_prob(t).exp()
    crps = total[scored] * (t * (2 * STANDARD.cdf(t) - 1) + 2 * density - torch.pi**-0.5)
    each = (residual.abs() * scored).flatten(1).sum(1) / scored.flatten(1).sum(1) / value_range
    normal = [float(STANDARD.icdf(torch.tensor((1 + level) / 2))) for level in levels]
    half = normal if widths is None else widths
    return Scores(
        float(residual[scored].abs().mean()) / value_range,
        float(each.std()) / len(each) ** 0.5,
        float(residual[scored].square().mean().sqrt()) / value_range,
        float(crps.mean()) / value_range,
        {
            f"{level:.0%}": float((t.abs() <= width).double().mean())
            for level, width in zip(levels, half, strict=True)
        },
    )
