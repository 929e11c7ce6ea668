"""The prior of the paper: independent standard normal latents."""

import pyro.distributions as dist
from torch import Tensor

from ..entry import Entry
from ..gaussian_cells import GaussianCells
from .arguments import check_dim, per_component
from .base import Prior


class Normal(Prior):
    """Independent normal latents, ``z ~ N(loc, scale²)`` for each of ``dim`` components.

    Parameters
    ----------
    dim : int
        Number of latent components d, at least 1.
    loc, scale : float or Tensor, default 0 and 1
        Mean and standard deviation, a number or a tensor of shape (d,); ``scale`` is positive.

    Raises
    ------
    ValueError
        If ``dim`` is not a positive integer, ``scale`` is not positive, or a tensor does not
        broadcast to (d,).

    References
    ----------
    Han, Lu, Zhu & Wu, "Alternating Back-Propagation for Generator Network" (AAAI 2017), eq. 1.
    """

    entry = Entry("z ~ N(loc, scale²)", "Han et al. (2017), eq. 1", "Normal(3)")

    loc: Tensor
    scale: Tensor

    def __init__(self, dim: int, loc: float | Tensor = 0.0, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        check_dim(dim)
        self.register_buffer("loc", per_component("loc", loc, dim))
        self.register_buffer("scale", per_component("scale", scale, dim, positive=True))

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, event shape (d,)."""
        return GaussianCells(self.loc, self.scale, batch_dims=0)
