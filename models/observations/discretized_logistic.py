"""Images of bytes, and other data on a grid of levels."""

import math
from collections.abc import Callable
from functools import partial

import pyro.distributions as dist
import torch
from torch import Tensor

from ..distributions.cells import Cells
from ..distributions.logistic_levels import LogisticLevels
from ..pieces import Entry
from .base import Context
from .level_checks import check_num_levels
from .location_scale import LocationScale


class DiscretizedLogistic(LocationScale):
    """Levels 0 to K - 1, each with the mass that a logistic density has within half a level of it.

    The lowest and the highest level take the tails. y holds the levels as they stand in an image
    file (bytes: 0 to 255), and signal and scale are in the same units; an output of -1 is the
    lowest level, 1 the highest.

    Parameters
    ----------
    levels : int, default 256
        K, at least 2.
    scale : float or Tensor, default 8
        Scale s of the logistic, in levels (its standard deviation is 1.81 s); a tensor has to
        broadcast to one example's data (one for each channel: shape (c, 1, 1)).
    inverse_link : callable, optional
        From the network's linear output to [-1, 1], elementwise, such as ``torch.tanh``. By default
        the identity: a signal beyond the ends is how saturated pixels become certain.
    learn_scale : bool, default False
        Learn the scale with the network, by its gradient.

    Raises
    ------
    TypeError
        If ``inverse_link`` is not callable.
    ValueError
        If ``levels`` is not an integer of at least 2, ``scale`` is not positive and finite, or
        ``learn_scale`` is not a boolean.

    References
    ----------
    Salimans, Karpathy, Chen & Kingma, "PixelCNN++" (2017), eq. 2.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import DiscretizedLogistic
    >>> image = DiscretizedLogistic(scale=2.0)
    >>> image.signal(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([  0.0000, 127.5000, 255.0000])
    """

    entry = Entry(
        "y = clamp(round(x), 0, K - 1), x ~ Logistic((K - 1)(1 + inverse_link(output)) / 2, scale)",
        "Salimans et al. (2017), eq. 2",
        "DiscretizedLogistic(levels=256)",
        shape=(1, 3, 3),
    )

    def __init__(
        self,
        levels: int = 256,
        scale: float | Tensor = 8.0,
        inverse_link: Callable[[Tensor], Tensor] | None = None,
        learn_scale: bool = False,
    ) -> None:
        check_num_levels("levels", levels)
        if inverse_link is None or callable(inverse_link):
            link = partial(_to_levels, highest=levels - 1, inverse_link=inverse_link)
        else:
            link = inverse_link
        super().__init__(scale, link, learn_scale)
        self.levels = levels

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent distributions over levels around a signal."""
        return Cells(LogisticLevels(signal, self.scale, self.levels), mask)


def bits_per_dimension(log_probability: Tensor, num_cells: int | Tensor) -> Tensor:
    """Return the code length of data on a grid of levels, in bits for each cell.

    Parameters
    ----------
    log_probability : Tensor
        ``log p(y)`` of examples, in nats. Its latent must be integrated out, as annealed importance
        sampling does: ``log p(y | z)`` at a z that was inferred from y leaves out the cost of z,
        and looks too good.
    num_cells : int or Tensor
        Number of observed cells of each example (pixels times channels).

    Returns
    -------
    Tensor
        Of the same shape. Guessing among 256 levels costs 8 bits.

    Raises
    ------
    ValueError
        If ``num_cells`` is not positive.

    Examples
    --------
    >>> import math, torch
    >>> from explainaway.models import bits_per_dimension
    >>> bits_per_dimension(torch.tensor([-100 * math.log(256.0)]), 100)
    tensor([8.])
    """
    if not bool((torch.as_tensor(num_cells) > 0).all()):
        raise ValueError(f"num_cells must be positive, got {num_cells!r}")
    return -log_probability / (num_cells * math.log(2))


def _to_levels(
    output: Tensor, highest: int, inverse_link: Callable[[Tensor], Tensor] | None
) -> Tensor:
    unit = output if inverse_link is None else inverse_link(output)
    return 0.5 * highest * (1 + unit)
