"""A learned mixture of Gaussians: clusters of examples."""

from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ..arguments import check_count
from ..distributions.finite_mixture import FiniteMixture
from ..distributions.gaussian_cells import GaussianCells
from ..pieces import Entry
from .base import Context, Prior
from .running_moments import RunningWeights


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
    learn : True or "closed form", default True
        Learn by gradient, or by EM with running sums over the batches of chains. There each
        cluster counts one further example, with variance 1 around its mean, so that none of them
        collapses or dies.

    Raises
    ------
    ValueError
        If ``dim`` or ``num_components`` is not a positive integer, ``spread`` not positive, or
        ``learn`` neither True nor "closed form".

    References
    ----------
    Dilokthanakul et al., "Deep unsupervised clustering with Gaussian mixture variational
    autoencoders" (2016); Jiang et al., "Variational deep embedding" (2017). Cappé & Moulines,
    "On-line expectation-maximization algorithm for latent data models" (2009), for the closed form.

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

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    mean_share: Tensor
    mean_vector: Tensor
    mean_square: Tensor

    def __init__(
        self,
        dim: int,
        num_components: int,
        spread: float = 1.0,
        learn: Literal[True, "closed form"] = True,
    ) -> None:
        super().__init__()
        check_count("dim", dim)
        check_count("num_components", num_components)
        if not 0 < spread < float("inf"):
            raise ValueError(f"spread must be positive and finite, got {spread!r}")
        if learn not in (True, "closed form"):
            raise ValueError(f'learn must be True or "closed form", got {learn!r}')
        logits, means = torch.zeros(num_components), spread * torch.randn(num_components, dim)
        log_scales = torch.zeros_like(means)
        self._weights = RunningWeights() if learn == "closed form" else None
        if self._weights is None:
            self.logits, self.means = nn.Parameter(logits), nn.Parameter(means)
            self.log_scales = nn.Parameter(log_scales)
            return
        for name, value in (
            ("logits", logits),
            ("means", means),
            ("log_scales", log_scales),
            ("mean_share", logits.clone()),
            ("mean_vector", torch.zeros_like(means)),
            ("mean_square", torch.zeros_like(means)),
        ):
            self.register_buffer(name, value)

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
    def starts(self, noise: Tensor) -> Tensor:
        """Return normal vectors of the mixture's mean and variances, made of white noise."""
        made = self._mixture()
        vectors = made.mean + made.variance.sqrt() * noise.reshape(-1, *made.event_shape)
        return vectors.reshape(noise.shape)

    def expect_examples(self, num_examples: int) -> None:
        """Be told how many examples there are."""
        if self._weights is not None:
            self._weights.most.fill_(num_examples)

    @property
    def has_closed_form(self) -> bool:
        """Whether the clusters are learned in closed form."""
        return self._weights is not None

    @torch.no_grad()
    def closed_form_step(self, latents: Tensor, context: Context | None = None) -> None:
        """Make a step of EM on a batch of latents (n, d)."""
        if self._weights is None:
            return
        shares = self.responsibilities(latents)  # (n, K)
        rate = self._weights.next_weight(len(latents)).to(latents.dtype)
        self.mean_share.lerp_(shares.mean(0), rate)
        self.mean_vector.lerp_(shares.mT @ latents / len(latents), rate)
        self.mean_square.lerp_(shares.mT @ latents.square() / len(latents), rate)
        size, share = self._weights.size, self.mean_share.double()
        total = share.clamp(min=torch.finfo(latents.dtype).tiny)[:, None]
        means = torch.where(share[:, None] > 0, self.mean_vector.double() / total, self.means)
        scatter = (self.mean_square.double() - total * means**2).clamp(min=0.0)
        self.logits.copy_((size * share + 1).log())
        self.means.copy_(means)
        self.log_scales.copy_(0.5 * ((size * scatter + 1) / (size * total + 1)).log())

    @torch.no_grad()
    def responsibilities(self, latents: Tensor) -> Tensor:
        """Return the probability of each cluster given latents, (..., d) -> (..., K)."""
        return self._mixture().joint_log_prob(latents).softmax(-1)
