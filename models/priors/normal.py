"""The prior of the paper, independent standard normal latents; or a normal one that is learned."""

import copy
from collections.abc import Sequence
from typing import Self

import pyro.distributions as dist
import torch
from torch import Tensor

from ..arguments import check_count, is_integer, per_component
from ..distributions.channel_normal import ChannelNormal
from ..distributions.gaussian_cells import GaussianCells
from ..pieces import Entry
from .base import Context, Prior
from .running_moments import RunningMoments


class Normal(Prior):
    """Normal latents: ``z ~ N(loc, scale²)`` in each component, or ``N(m, L Lᵀ)`` that is learned.

    Learned, m and L follow the chains in closed form. A network whose first layer is a full linear
    one with a bias reaches the same likelihood by its weights, in many small steps; with m and L it
    gets there sooner, and what is generated comes from where the chains have been.

    Where the prior is learned, the loop reports losses and energies of the white latents
    ``u = L⁻¹ (z - m)``, so that they can be compared from epoch to epoch and with those of
    ``Normal(dim)``. ``GeneratorModel.log_joint`` and a posterior's ``lp`` are those of z.

    Parameters
    ----------
    dim : int or sequence of int
        Number of latent components d, or the shape of a latent map such as (c, h, w).
    loc, scale : float or Tensor, default 0 and 1
        Mean and standard deviation, a number or a tensor that broadcasts to one latent;
        ``scale`` is positive. Where the prior is learned they are its start, and a map's must be
        the same in all cells: of shape (c, 1, 1).
    learn : bool, default False
        Learn m and L. Of a vector the covariance is full. Of a map it is that of the channels in a
        cell, for all cells the same and independent of each other: what a convolution could take
        over, and what a map of another size has too. With few examples it stays near the start,
        by a share of about d / (n + d), of maps c / (n h w + c) (:class:`RunningMoments`).

    Raises
    ------
    ValueError
        If ``dim`` holds anything but positive integers, ``scale`` is not positive, ``learn`` is
        neither True nor False, or a tensor does not broadcast to one latent.

    References
    ----------
    Han, Lu, Zhu & Wu, "Alternating Back-Propagation for Generator Network" (AAAI 2017), eq. 1;
    Experiment 1 for maps. Liu, Rubin & Wu, "Parameter expansion to accelerate EM: the PX-EM
    algorithm" (1998), for the direction in which EM is slow without m and L.

    Examples
    --------
    >>> from explainaway.models import Normal
    >>> Normal((1, 7, 7)).distribution().event_shape
    torch.Size([1, 7, 7])
    >>> Normal(5, learn=True).scale_tril.shape
    torch.Size([5, 5])
    """

    entry = Entry("z ~ N(loc, scale²), or N(m, L Lᵀ) learned", "Han et al. (2017)", "Normal(3)")

    loc: Tensor
    scale: Tensor
    mean: Tensor
    scale_tril: Tensor

    def __init__(
        self,
        dim: int | Sequence[int],
        loc: float | Tensor = 0.0,
        scale: float | Tensor = 1.0,
        learn: bool = False,
    ) -> None:
        super().__init__()
        if learn not in (True, False):
            raise ValueError(f"learn must be True or False, got {learn!r}")
        shape = _shape_of(dim)
        own = (shape[0], *[1] * (len(shape) - 1)) if learn else shape
        self.register_buffer("loc", per_component("loc", loc, own))
        self.register_buffer("scale", per_component("scale", scale, own, positive=True))
        self._cells = shape[1:]
        self._moments = RunningMoments(shape[0]) if learn else None
        if learn:
            self.register_buffer("mean", self.loc.flatten().clone())
            self.register_buffer("scale_tril", self.scale.flatten().diag())

    def on_map(self, *sizes: int) -> Self:
        """Return the same prior, a copy, for latent maps of another size.

        With it a convolutional network that learned one size makes another: where the prior is
        learned, what it has learned is of a cell.

        Parameters
        ----------
        *sizes : int
            Cells of the map in each of its dimensions: 14, 14 for a latent (c, 14, 14).

        Returns
        -------
        Normal

        Raises
        ------
        ValueError
            If latents are no maps of so many dimensions, a size is not a positive integer, or mean
            or scale are not the same in all cells.

        References
        ----------
        Han, Lu, Zhu & Wu, "Alternating Back-Propagation for Generator Network" (AAAI 2017),
        Experiment 1.

        Examples
        --------
        >>> Normal((4, 7, 7), learn=True).on_map(14, 14).distribution().event_shape
        torch.Size([4, 14, 14])
        """
        for size in sizes:
            check_count("sizes", size)
        if not self._cells or len(sizes) != len(self._cells):
            raise ValueError(
                f"sizes must be those of a map of {len(self._cells)} dimensions, as the cells "
                f"{self._cells} of this prior have, got {sizes}"
            )
        other = copy.deepcopy(self)
        other._cells = sizes
        if self._moments is None:
            for name in ("loc", "scale"):
                values = getattr(self, name)
                cell = values.flatten(1)[:, :1]
                if not values.flatten(1).eq(cell).all():
                    raise ValueError(
                        f"{name} must be the same in all cells to hold in a map of {sizes}"
                    )
                cell = cell.reshape(-1, *[1] * len(sizes))
                setattr(other, name, cell.expand(-1, *sizes).clone())
        return other

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, of event shape (d,) or the map's."""
        if self._moments is None:
            return GaussianCells(self.loc, self.scale, batch_dims=0)
        return self._learned()

    def _learned(self) -> ChannelNormal:
        return ChannelNormal(self.mean, self.scale_tril, self._cells)

    def starts(self, noise: Tensor) -> Tensor:
        """Return draws from a learned prior, made of standard normal noise; else the noise."""
        if self._moments is None:
            return noise
        made = self._learned()
        return made.around(noise.reshape(-1, *made.event_shape)).reshape(noise.shape)

    def log_volume(self) -> Tensor | None:
        """Return ``log |det|`` of the learned map from white latents, None without one."""
        return None if self._moments is None else self._learned().log_volume()

    def expect_examples(self, num_examples: int) -> None:
        """Be told how many examples the learned covariance will be of."""
        if self._moments is not None:
            num_cells = torch.Size(self._cells).numel()
            self._moments.weights.most.fill_(num_examples * num_cells)

    @property
    def has_closed_form(self) -> bool:
        """Whether mean and covariance are learned."""
        return self._moments is not None

    @torch.no_grad()
    def closed_form_step(self, latents: Tensor, context: Context | None = None) -> None:
        """Move mean and covariance towards those of a batch of latents (n, ...)."""
        if self._moments is None:
            return
        self._moments.add(_by_cell(latents))
        mean, factor = self._moments.mode(self.loc.flatten(), self.scale.flatten())
        self.mean.copy_(mean)
        self.scale_tril.copy_(factor)


def _by_cell(latents: Tensor) -> Tensor:
    """Return maps (n, c, ...) as the channels of each cell, (n · cells, c)."""
    channels = latents.shape[1]
    return latents.reshape(len(latents), channels, -1).mT.reshape(-1, channels)


def _shape_of(dim: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(dim) if isinstance(dim, Sequence) else (dim,)
    if not sizes or any(not is_integer(size) or size < 1 for size in sizes):
        raise ValueError(
            f"dim must be a positive integer, got {dim!r}; of a latent map, a shape of such"
        )
    return sizes
