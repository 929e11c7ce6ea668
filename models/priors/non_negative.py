"""Latents that cannot be negative: parts that add up."""

from typing import Literal

import pyro.distributions as dist
from torch import Tensor

from ..arguments import check_count, per_component
from ..pieces import Entry
from .base import Prior


class NonNegative(Prior):
    """Independent non-negative latents, exponential or half-normal.

    With ``linear(dim, shape, non_negative=True)`` the model is a probabilistic non-negative matrix
    factorisation: parts of data, each present to some amount, that never cancel. Chains move in the
    logarithm of z, with the Jacobian of that map.

    Parameters
    ----------
    dim : int
        Number of latent components d, at least 1.
    scale : float or Tensor, default 1
        Mean of the exponential, or the scale of the half-normal (its root mean square); a number
        or a tensor of shape (d,).
    family : "exponential" or "half-normal", default "exponential"
        ``p(z) = exp(-z / scale) / scale``, which prefers few large amounts, or
        ``p(z) ∝ exp(-z² / (2 scale²))``.

    Raises
    ------
    ValueError
        If ``dim`` is not a positive integer, ``scale`` is not positive or of another shape, or
        ``family`` is neither of the two.

    References
    ----------
    Lee & Seung, "Learning the parts of objects by non-negative matrix factorization" (1999);
    Schmidt, Winther & Hansen, "Bayesian non-negative matrix factorization" (2009), for the
    exponential prior.

    Examples
    --------
    >>> from explainaway.models import Gaussian, GeneratorModel, NonNegative, linear
    >>> model = GeneratorModel(
    ...     NonNegative(3), linear(3, 8, non_negative=True, bias=False), Gaussian(0.1)
    ... )
    >>> bool((model.generate(5, seed=0) >= 0).all())
    True
    """

    entry = Entry(
        "z ~ Exponential(1 / scale), or half-normal",
        "Non-negative matrix factorisation: Lee & Seung (1999)",
        "NonNegative(3)",
    )

    scale: Tensor

    def __init__(
        self,
        dim: int,
        scale: float | Tensor = 1.0,
        family: Literal["exponential", "half-normal"] = "exponential",
    ) -> None:
        super().__init__()
        check_count("dim", dim)
        if family not in ("exponential", "half-normal"):
            raise ValueError(f'family must be "exponential" or "half-normal", got {family!r}')
        self.family = family
        self.register_buffer("scale", per_component("scale", scale, (dim,), positive=True))

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, event shape (d,)."""
        cells = (
            dist.Exponential(1 / self.scale)
            if self.family == "exponential"
            else dist.HalfNormal(self.scale)
        )
        made: dist.TorchDistribution = cells.to_event(1)
        return made
