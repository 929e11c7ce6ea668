"""Independent Student-t latents: sources with power-law tails."""

import pyro.distributions as dist
import torch
from torch import Tensor

from ..arguments import check_count, per_component
from ..distributions.student_t import StudentTCells
from ..pieces import Entry
from .base import Prior


class StudentT(Prior):
    """Independent Student-t latents, ``p(z) ∝ (1 + z² / (df scale²))^(-(df + 1) / 2)``.

    Smooth at 0 and heavy in the tails: independent component analysis with a linear network, and
    latents that may now and then be far out.

    Parameters
    ----------
    dim : int
        Number of latent components d, at least 1.
    df : float or Tensor, default 3
        Degrees of freedom, a number or a tensor of shape (d,). 1 is the Cauchy distribution; the
        variance ``scale² df / (df - 2)`` is finite for ``df > 2`` only.
    scale : float or Tensor, default 1
        Scale, a number or a tensor of shape (d,).

    Raises
    ------
    ValueError
        If ``dim`` is not a positive integer, or ``df`` or ``scale`` is not positive or of another
        shape.

    References
    ----------
    Welling, Hinton & Osindero, "Learning sparse topographic representations with products of
    Student-t distributions" (2002), for these sources of natural images.

    Examples
    --------
    >>> from explainaway.models.priors import StudentT
    >>> StudentT(2, df=4.0).distribution().variance
    tensor([2., 2.])
    """

    entry = Entry(
        "z ~ StudentT(df, 0, scale)",
        "Independent component analysis: Welling, Hinton & Osindero (2002)",
        "priors.StudentT(3, df=3.0)",
    )

    df: Tensor
    scale: Tensor

    def __init__(self, dim: int, df: float | Tensor = 3.0, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        check_count("dim", dim)
        self.register_buffer("df", per_component("df", df, (dim,), positive=True))
        self.register_buffer("scale", per_component("scale", scale, (dim,), positive=True))

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, event shape (d,)."""
        cells = StudentTCells(self.df, torch.zeros_like(self.scale), self.scale)
        made: dist.TorchDistribution = cells.to_event(1)
        return made
