"""Independent Laplace latents: the sources of independent component analysis."""

import pyro.distributions as dist
import torch
from torch import Tensor

from ..arguments import check_count, per_component
from ..pieces import Entry
from .base import Prior


class Laplace(Prior):
    """Independent double-exponential latents, ``p(z) = exp(-|z| / scale) / (2 scale)``.

    With a linear network this is independent component analysis: tails that are heavier than the
    normal's make the axes of z visible in the data, which a normal prior leaves open up to a
    rotation. The density has a kink at 0, which Metropolis-adjusted kernels correct for; where the
    gradient itself has to be smooth, take :class:`Sparse`.

    Parameters
    ----------
    dim : int
        Number of latent components d, at least 1.
    scale : float or Tensor, default 1
        Mean absolute value, a number or a tensor of shape (d,); the variance is ``2 scale²``.

    Raises
    ------
    ValueError
        If ``dim`` is not a positive integer, or ``scale`` is not positive or of another shape.

    References
    ----------
    Bell & Sejnowski, "An information-maximization approach to blind separation and blind
    deconvolution" (1995); Lewicki & Sejnowski, "Learning overcomplete representations" (2000), for
    this density.

    Examples
    --------
    >>> from explainaway.models.priors import Laplace
    >>> Laplace(2).distribution().event_shape
    torch.Size([2])
    """

    entry = Entry(
        "z ~ Laplace(0, scale)",
        "Independent component analysis: Bell & Sejnowski (1995)",
        "priors.Laplace(3)",
    )

    scale: Tensor

    def __init__(self, dim: int, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        check_count("dim", dim)
        self.register_buffer("scale", per_component("scale", scale, (dim,), positive=True))

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, event shape (d,)."""
        cells = dist.Laplace(torch.zeros_like(self.scale), self.scale)
        made: dist.TorchDistribution = cells.to_event(1)
        return made
