"""A prior fitted to the latents of a learned model: the aggregate posterior."""

import pyro.distributions as dist
import torch
from torch import Tensor

from ..arguments import check_count, first_place
from ..distributions.finite_mixture import FiniteMixture
from ..pieces import Entry
from .base import Prior


class Empirical(Prior):
    """``p(z) = Σ_k w_k N(z; μ_k, Σ_k)``, fitted to latents and fixed.

    A model is learned with a simple prior, and the posterior latents of its data seldom fill that
    prior: what it generates between them is not like the data. This one takes their place::

        fit = AlternatingBackProp(model).fit(y, epochs=50)
        better = GeneratorModel(Empirical.fit(fit.latents), model.network, model.observation)
        better.generate(64, seed=1)

    Made by :meth:`fit`, or from known moments.

    Parameters
    ----------
    means : Tensor, (K, d)
        Means.
    covariances : Tensor, (K, d, d)
        Positive definite.
    weights : Tensor, (K,), optional
        Positive; they are divided by their sum. Equal by default.

    Raises
    ------
    ValueError
        If the shapes do not fit, a covariance is not positive definite, or a weight is not
        positive.

    References
    ----------
    Ghosh et al., "From variational to deterministic autoencoders" (2020): "ex-post density
    estimation".

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import Empirical
    >>> prior = Empirical.fit(torch.randn(500, 4), num_components=2)
    >>> prior.distribution().sample((3,)).shape
    torch.Size([3, 4])
    """

    entry = Entry(
        "p(z) = Σ_k w_k N(z; μ_k, Σ_k), fitted to posterior latents",
        "Ghosh et al. (2020)",
        "Empirical.fit(torch.cat([torch.eye(3), -torch.eye(3)]))",
    )

    means: Tensor
    scale_tril: Tensor
    log_weights: Tensor

    def __init__(self, means: Tensor, covariances: Tensor, weights: Tensor | None = None) -> None:
        super().__init__()
        if means.dim() != 2:
            raise ValueError(f"means must have shape (K, d), got {tuple(means.shape)}")
        num_components, dim = means.shape
        if covariances.shape != (num_components, dim, dim):
            raise ValueError(
                f"covariances must have shape {(num_components, dim, dim)} for means of shape "
                f"{(num_components, dim)}, got {tuple(covariances.shape)}"
            )
        if weights is None:
            weights = means.new_ones(num_components)
        if weights.shape != (num_components,) or not bool((weights > 0).all()):
            raise ValueError(
                f"weights must be {num_components} positive numbers, one for each mean, got "
                f"{weights.tolist()}"
            )
        scale_tril, failed = torch.linalg.cholesky_ex(covariances)
        if bool(failed.any()):
            raise ValueError(f"covariances[{int(failed.argmax())}] is not positive definite")
        self.register_buffer("means", means.detach().clone())
        self.register_buffer("scale_tril", scale_tril.detach())
        self.register_buffer("log_weights", (weights / weights.sum()).log().detach())

    @classmethod
    def fit(cls, latents: Tensor, num_components: int = 1, seed: int = 0) -> "Empirical":
        """Return the maximum-likelihood mixture of ``num_components`` normals, by EM.

        Parameters
        ----------
        latents : Tensor, (n, d) or (chains, n, d)
            Posterior draws of a model's examples, one or several of each, on the whole real line:
            those of a :class:`NonNegative` prior have no normal distribution.
        num_components : int, default 1
            K; 1 is the normal with the latents' mean and covariance.
        seed : int, default 0
            Of EM's starts.

        Raises
        ------
        ValueError
            If the latents are too few for so many covariances, not finite, or of another shape.
        """
        from sklearn.mixture import GaussianMixture

        check_count("num_components", num_components)
        if latents.dim() < 2:
            raise ValueError(f"latents must have shape (n, d), got {tuple(latents.shape)}")
        rows = latents.detach().flatten(0, -2)
        count, dim = rows.shape
        if count < num_components * (dim + 1):
            raise ValueError(
                f"latents must hold at least num_components (d + 1) = {num_components * (dim + 1)} "
                f"draws for {num_components} covariances of {dim} components, got {count}"
            )
        if not bool(rows.isfinite().all()):
            place = first_place(~rows.isfinite())
            raise ValueError(f"latents must be finite, got {float(rows[place])} at {list(place)}")
        mixture = GaussianMixture(num_components, n_init=5, max_iter=1000, random_state=seed)
        mixture.fit(rows.double().cpu().numpy())
        means, covariances, weights = (
            torch.as_tensor(values).to(rows)
            for values in (mixture.means_, mixture.covariances_, mixture.weights_)
        )
        return cls(means, covariances, weights)

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, event shape (d,)."""
        return FiniteMixture(
            self.log_weights, dist.MultivariateNormal(self.means, scale_tril=self.scale_tril)
        )
