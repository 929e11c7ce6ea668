"""The prior of the paper: independent standard normal latents."""

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor

from ..arguments import is_integer, per_component
from ..distributions.gaussian_cells import GaussianCells
from ..pieces import Entry
from .base import Prior


class Normal(Prior):
    """Independent normal latents, ``z ~ N(loc, scale²)`` for each component.

    Parameters
    ----------
    dim : int or sequence of int
        Number of latent components d, or the shape of a latent map such as (c, h, w).
    loc, scale : float or Tensor, default 0 and 1
        Mean and standard deviation, a number or a tensor that broadcasts to one latent;
        ``scale`` is positive.

    Raises
    ------
    ValueError
        If ``dim`` holds anything but positive integers, ``scale`` is not positive, or a tensor
        does not broadcast to one latent.

    References
    ----------
    Han, Lu, Zhu & Wu, "Alternating Back-Propagation for Generator Network" (AAAI 2017), eq. 1;
    Experiment 1 for maps.

    Examples
    --------
    >>> from explainaway.models import Normal
    >>> Normal((1, 7, 7)).distribution().event_shape
    torch.Size([1, 7, 7])
    """

    entry = Entry("z ~ N(loc, scale²)", "Han et al. (2017), eq. 1", "Normal(3)")

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        dim: int | Sequence[int],
        loc: float | Tensor = 0.0,
        scale: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        shape = _shape_of(dim)
        self.register_buffer("loc", per_component("loc", loc, shape))
        self.register_buffer("scale", per_component("scale", scale, shape, positive=True))

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, of event shape (d,) or the map's."""
        return GaussianCells(self.loc, self.scale, batch_dims=0)


def _shape_of(dim: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(dim) if isinstance(dim, Sequence) else (dim,)
    if not sizes or any(not is_integer(size) or size < 1 for size in sizes):
        raise ValueError(
            f"dim must be a positive integer, got {dim!r}; of a latent map, a shape of such"
        )
    return sizes
