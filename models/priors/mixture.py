"""A learned mixture of Gaussians: clusters of examples."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ..arguments import check_count
from ..distributions.finite_mixture import FiniteMixture
from ..distributions.gaussian_cells import GaussianCells
from ..pieces import Entry
from .base import Prior


class Mixture(Prior):
    """``p(z) = Σ_k w_k N(z; μ_k, diag(σ_k²))``, with weights, means and scales learned.

    Examples that belong together gather around one mean; which, :meth:`responsibilities` says.
    Which cluster an example is in is summed out, so chains move in a smooth density. Between
    clusters that are far apart a chain crosses seldom: ``ParallelTempering`` does.

    Parameters
    ----------
    dim : int
        Number of latent components d, at least 1.
    num_components : int
        Number of clusters K, at least 1.
    spread : float, default 1
        The means start normal with this standard deviation, from torch's random state; weights
        start equal, scales at 1.

    Raises
    ------
    ValueError
        If ``dim`` or ``num_components`` is not a positive integer, or ``spread`` not positive.

    References
    ----------
    Dilokthanakul et al., "Deep unsupervised clustering with Gaussian mixture variational
    autoencoders" (2016); Jiang et al., "Variational deep embedding" (2017).

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import Mixture
    >>> prior = Mixture(2, num_components=3)
    >>> prior.responsibilities(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """

    entry = Entry(
        "p(z) = Σ_k w_k N(z; μ_k, diag(σ_k²)), all learned",
        "Dilokthanakul et al. (2016); Jiang et al. (2017)",
        "Mixture(3, num_components=2)",
    )

    def __init__(self, dim: int, num_components: int, spread: float = 1.0) -> None:
        super().__init__()
        check_count("dim", dim)
        check_count("num_components", num_components)
        if not 0 < spread < float("inf"):
            raise ValueError(f"spread must be positive and finite, got {spread!r}")
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.means = nn.Parameter(spread * torch.randn(num_components, dim))
        self.log_scales = nn.Parameter(torch.zeros(num_components, dim))

    @property
    def weights(self) -> Tensor:
        """Share of each cluster, (K,)."""
        return self.logits.softmax(0)

    @property
    def scales(self) -> Tensor:
        """Standard deviations, (K, d)."""
        return self.log_scales.exp()

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, event shape (d,)."""
        return self._mixture()

    def _mixture(self) -> FiniteMixture:
        return FiniteMixture(self.logits, GaussianCells(self.means, self.scales))

    @torch.no_grad()
    def responsibilities(self, latents: Tensor) -> Tensor:
        """Return the probability of each cluster given latents, (..., d) -> (..., K)."""
        return self._mixture().joint_log_prob(latents).softmax(-1)
