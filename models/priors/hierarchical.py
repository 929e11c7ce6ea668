"""Latents with a learned variance each: automatic relevance determination."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ..arguments import check_count, per_component
from ..distributions.gaussian_cells import GaussianCells
from ..pieces import Entry
from .base import Context, Prior


class Hierarchical(Prior):
    """``z_j ~ N(0, scale_j²)`` with every scale learned: dimensions that are not needed switch off.

    The chain holds the standardised ``ε ~ N(0, I)``, and the network sees ``z = scale ε``, which is
    what :meth:`transformed` returns: ``model.prior.transformed(fit.latents)``. So no component gets
    stiff when its scale goes to 0 (the non-centred form of a hierarchical model).

    The likelihood knows only the product of a scale and the weights that the network puts on it;
    what switches a dimension off is a prior on both. Weight decay is a normal one, and on the scale
    *and* on the layer that z enters it is a penalty on the length of their product, a group lasso,
    which has exact zeros::

        penalised = [model.prior.scale, model.network[0].weight]
        optimizer = torch.optim.Adam([
            {"params": penalised, "weight_decay": 0.05},
            {"params": [p for p in model.parameters() if all(p is not q for q in penalised)]},
        ], lr=1e-2)

    Weight decay λ of n examples is a prior of standard deviation ``(n λ)^(-1/2)``.

    The scales have no closed form: given the chain's ε the data depend on them through the network.
    ``Normal(dim, learn=True)`` has one, and there nothing switches off.

    Parameters
    ----------
    dim : int
        Number of latent components d, at least 1; more than are thought to be needed.
    scale : float or Tensor, default 1
        Where the standard deviations start, a number or a tensor of shape (d,).

    Raises
    ------
    ValueError
        If ``dim`` is not a positive integer, or ``scale`` is not positive or of another shape.

    References
    ----------
    Bishop, "Bayesian PCA" (1999), and MacKay, "Probable networks and plausible predictions"
    (1995), for automatic relevance determination; Hoff, "Lasso, fractional norm and structured
    sparsity estimation using a Hadamard product parametrization" (2017), for the penalty;
    Papaspiliopoulos, Roberts & Sköld, "A general framework for the parametrization of hierarchical
    models" (2007).

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import Hierarchical
    >>> prior = Hierarchical(2, scale=torch.tensor([1.0, 0.1]))
    >>> prior.transformed(torch.ones(1, 2)).detach()
    tensor([[1.0000, 0.1000]])
    """

    entry = Entry(
        "z ~ N(0, diag(scale²)), scale learned",
        "Automatic relevance determination: Bishop (1999)",
        "Hierarchical(3)",
    )

    def __init__(self, dim: int, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        check_count("dim", dim)
        # Not its logarithm, which weight decay would draw to 1. The sign does not matter.
        self.scale = nn.Parameter(per_component("scale", scale, (dim,), positive=True))

    @property
    def variance(self) -> Tensor:
        """Variance of each component of z, (d,): which of them are on."""
        return self.scale**2

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of the standardised latent, N(0, I), event shape (d,)."""
        ones = torch.ones_like(self.scale.detach())
        return GaussianCells(torch.zeros_like(ones), ones, batch_dims=0)

    def transformed(self, latents: Tensor, context: Context | None = None) -> Tensor:
        """Return z, the standardised latents times their scales."""
        return self.scale * latents
