"""The sparse prior of overcomplete codes."""

from typing import Any

import pyro.distributions as dist
from torch import Tensor

from ..arguments import check_count, per_component
from ..distributions.smoothed_laplace import SmoothedLaplace
from ..pieces import Entry
from .base import Prior


class Sparse(Prior):
    """Independent sparse latents with a smooth density, ``p(z) ∝ cosh(z / (ε b))^(-ε)``.

    For codes with more components than data have cells (d > D), where the prior alone decides
    which of the many codes explains an example: few components far from 0, the others near it.

    Its penalty ``ε log cosh(z / (ε b))`` is |z| / b beyond ``ε b``, as sparse as the Laplace
    prior's, but a parabola near 0. Langevin and Hamiltonian dynamics follow the gradient over
    finite steps, and the Laplace prior's jumps by 2 / b at 0, exactly where a sparse code spends
    its time; here it is ``tanh(z / (ε b)) / b``, which has all derivatives.

    Parameters
    ----------
    dim : int
        Number of latent components d, at least 1.
    scale : float or Tensor, default 1
        b, the length over which the tails fall by a factor of e, a number or a tensor of shape
        (d,).
    smoothing : float, default 0.1
        ε: the kink is rounded within ``ε b`` of 0. A step size well below ``b √ε`` resolves it.

    Raises
    ------
    ValueError
        If ``dim`` is not a positive integer, ``scale`` or ``smoothing`` is not positive, or
        ``scale`` does not broadcast to (d,).

    References
    ----------
    Olshausen & Field, "Emergence of simple-cell receptive field properties by learning a sparse
    code for natural images" (1996), with ``log(1 + z²)`` and |z| as penalties; Hyvärinen,
    "Fast and robust fixed-point algorithms for independent component analysis" (1999), for
    log cosh.

    Examples
    --------
    >>> from explainaway.models import Sparse
    >>> Sparse(200, scale=0.5).distribution().sample().shape
    torch.Size([200])
    """

    entry = Entry(
        "p(z) ∝ cosh(z / (ε b))^(-ε), a Laplace density with its kink rounded",
        "Sparse coding: Olshausen & Field (1996)",
        "Sparse(9, smoothing=0.2)",
    )

    scale: Tensor
    smoothing: Tensor

    def __init__(self, dim: int, scale: float | Tensor = 1.0, smoothing: float = 0.1) -> None:
        super().__init__()
        check_count("dim", dim)
        self.register_buffer("scale", per_component("scale", scale, (dim,), positive=True))
        self.register_buffer(
            "smoothing", per_component("smoothing", smoothing, (dim,), positive=True)
        )

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, event shape (d,)."""
        cells: Any = SmoothedLaplace(self.scale, self.smoothing)
        made: dist.TorchDistribution = cells.to_event(1)
        return made
