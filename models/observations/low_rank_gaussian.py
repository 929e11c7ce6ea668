"""Gaussian noise with a few common factors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..arguments import check_count
from ..distributions.covariances import Covariance, LowRank
from ..pieces import Entry
from .base import Context
from .correlated import CorrelatedGaussian
from .noise_settings import Learning, check_learning, check_nugget, checked_scale, checked_sizes
from .white_start import WhiteStart

FIRST_SHARE = 0.01
"""Variance of the factors at the start, over that of the independent noise."""


class LowRankGaussian(CorrelatedGaussian):
    """Gaussian noise of low rank plus diagonal, ``y ~ N(signal, W Wᵀ + D)``.

    The noise is ``W f + e`` with ``rank`` standard normal factors f of each example and independent
    e: what the cells of an example have in common beyond the network's signal. Density, marginal of
    the observed cells and prediction of the hidden ones are exact, by matrices of rank x rank.

    Factors that are there from the start explain what the network should learn. So the noise starts
    (nearly) white and stays so for ``white_batches`` batches; then W and D follow the residual.

    Parameters
    ----------
    shape : int or sequence of int
        Of one example's data.
    rank : int
        Number of factors, at least 1.
    scale : float or Tensor, default 1
        Standard deviation of the independent noise at the start, a number or a tensor that
        broadcasts to one example's data.
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise, as in :class:`Gaussian`.
    learn_covariance : bool or "closed form", default "closed form"
        Learn W and D in closed form: EM of factor analysis on the residuals with running sums over
        batches. True: by their gradient, from the first batch; False: keep them.
    nugget : float, default 0.01
        Smallest variance of the independent noise of a cell, over that at the start.
    white_batches : int, default 200
        Batches after which the closed form begins.

    Raises
    ------
    ValueError
        If a size is not positive, ``scale`` is not positive and finite or does not broadcast to
        ``shape``, or ``nugget`` is not between 0 and 1.

    References
    ----------
    Rubin & Thayer, "EM algorithms for ML factor analysis" (1982); Cappé & Moulines, "On-line
    expectation-maximization algorithm for latent data models" (2009).

    Examples
    --------
    >>> from explainaway.models import LowRankGaussian
    >>> LowRankGaussian((3, 32, 32), rank=8, scale=0.3).loadings.shape
    torch.Size([8, 3, 32, 32])
    """

    entry = Entry(
        "y ~ N(inverse_link(output), W Wᵀ + D)",
        "Rubin & Thayer (1982)",
        "LowRankGaussian(6, rank=2, scale=0.3)",
    )

    loadings: Tensor
    log_excess: Tensor
    floor: Tensor
    mean_observed: Tensor
    mean_square: Tensor
    mean_cross: Tensor
    mean_factors: Tensor

    def __init__(
        self,
        shape: int | Sequence[int],
        rank: int,
        scale: float | Tensor = 1.0,
        inverse_link: Callable[[Tensor], Tensor] | None = None,
        learn_covariance: Learning = "closed form",
        *,
        nugget: float = 0.01,
        white_batches: int = 200,
    ) -> None:
        super().__init__(inverse_link)
        self.shape = checked_sizes("shape", shape)
        check_count("rank", rank)
        check_learning("learn_covariance", learn_covariance)
        check_nugget(nugget)
        variance = self._of_each_cell(scale) ** 2
        self.register_buffer("floor", nugget * variance)
        loadings = torch.randn(rank, *self.shape) * (FIRST_SHARE * variance / rank).sqrt()
        log_excess = (variance - self.floor).log()
        if learn_covariance is True:
            self.loadings = nn.Parameter(loadings)
            self.log_excess = nn.Parameter(log_excess)
        else:
            self.register_buffer("loadings", loadings)
            self.register_buffer("log_excess", log_excess)
        self.start = WhiteStart(white_batches) if learn_covariance == "closed form" else None
        if self.start is not None:
            self.register_buffer("mean_observed", torch.zeros(self.shape))
            self.register_buffer("mean_square", torch.zeros(self.shape))
            self.register_buffer("mean_cross", torch.zeros(*self.shape, rank))
            self.register_buffer("mean_factors", torch.zeros(*self.shape, rank, rank))

    @property
    def variance(self) -> Tensor:
        """Variance D of the independent noise of each cell."""
        return self.floor + self.log_excess.exp()

    @property
    def has_closed_form(self) -> bool:
        """Whether W and D are learned in closed form."""
        return self.start is not None

    def covariance(self, mask: Tensor | None = None) -> Covariance:
        """Return the covariance, with what is observed of it."""
        return LowRank(self.loadings, self.variance, mask)

    def check_shape(self, name: str, shape: torch.Size) -> None:
        """Raise ValueError if an array (n, ...) has not the shape of the noise."""
        if shape[1:] != self.shape:
            raise ValueError(
                f"{name} must have shape (n, {', '.join(map(str, self.shape))}), as the noise has, "
                f"got {tuple(shape)}"
            )

    @torch.no_grad()
    def learn_from_residuals(
        self, residual: Tensor, mask: Tensor | None = None, context: Context | None = None
    ) -> None:
        """Move W and D by a step of EM on residuals (n, ...) of observed cells."""
        rate = 0.0 if self.start is None else self.start.next_rate()
        if rate == 0.0:
            return
        noise = LowRank(self.loadings, self.variance, mask)
        factors = noise.factors(residual)  # (n, r)
        spread = noise.factor_covariance()  # (n, r, r), or (r, r) without a mask
        seen = torch.ones_like(residual) if mask is None else mask.to(residual.dtype)
        seen, known = seen.flatten(1), (seen * residual).flatten(1)  # (n, N)
        second = spread + factors[:, :, None] * factors[:, None, :]
        for name, value in (
            ("mean_observed", seen.mean(0)),
            ("mean_square", known.square().mean(0)),
            ("mean_cross", known.mT @ factors / len(known)),
            ("mean_factors", (seen.mT @ second.flatten(1)) / len(known)),
        ):
            buffer = getattr(self, name)
            buffer.lerp_(value.reshape(buffer.shape), rate)
        self._maximise()

    def _maximise(self) -> None:
        """Set W and D to what maximises the expected log density under the running sums."""
        met = self.mean_observed > 0
        identity = torch.eye(len(self.loadings)).to(self.mean_factors)
        factors = torch.where(met[..., None, None], self.mean_factors, identity)
        loadings = torch.linalg.solve(factors, self.mean_cross)  # (*shape, r)
        rest = self.mean_square - (loadings * self.mean_cross).sum(-1)
        excess = rest / self.mean_observed.clamp(min=torch.finfo(rest.dtype).tiny) - self.floor
        excess = excess.maximum(torch.finfo(excess.dtype).eps * self.floor)
        self.loadings.copy_(torch.where(met, loadings.movedim(-1, 0), self.loadings))
        self.log_excess.copy_(torch.where(met, excess.log(), self.log_excess))

    def _of_each_cell(self, scale: float | Tensor) -> Tensor:
        """Return standard deviations of the data's shape."""
        value = checked_scale(scale)
        try:
            return value.expand(self.shape).clone()
        except RuntimeError:
            raise ValueError(
                f"scale must broadcast to shape {self.shape}, got shape {tuple(value.shape)}"
            ) from None
