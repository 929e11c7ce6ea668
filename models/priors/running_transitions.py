"""Second moments of latent sequences, followed from the chains of one batch to the next."""

import torch
from torch import Tensor, nn

from ..distributions.vector_autoregression import VectorAutoregression
from .running_moments import RunningWeights

MOVES = 10
"""Steps of L-BFGS: the moments have moved a little, so has what explains them."""

EVERY = 5
"""Batches between them, but for the first."""


def scale_of(factor: Tensor) -> Tensor:
    """Return L, (d, d), whose diagonal is kept as its logarithm."""
    return factor.tril(-1) + factor.diagonal().exp().diag()


class RunningTransitions(nn.Module):
    """Running second moments of sequences, and the stationary autoregression that explains them.

    Stochastic approximation of EM. The likelihood of latent sequences depends on them by four
    matrices alone, whose running means are kept. The stationary start leaves no formula for the
    largest likelihood, so some quasi-Newton steps in d x d matrices are made: without network or
    data, and whatever the number of sequences. Further states are reckoned with that tell the
    dynamics of the start: what no data tell stays as it was.

    Parameters
    ----------
    first : VectorAutoregression
        The start.
    prior_states : float
        How many.

    References
    ----------
    Delyon, Lavielle & Moulines, "Convergence of a stochastic approximation version of the EM
    algorithm" (1999); Shumway & Stoffer, "An approach to time series smoothing and forecasting
    using the EM algorithm" (1982), for the moments.
    """

    first: Tensor
    moments: Tensor

    def __init__(self, first: VectorAutoregression, prior_states: float) -> None:
        super().__init__()
        self.prior_states = prior_states
        self.weights = RunningWeights()
        self.length = first.length
        covariance = first.covariance.detach()
        states = (self.length - 1) * covariance
        moved = first.transition.detach() @ states
        self.register_buffer("first", torch.stack([covariance, states, states, moved]))
        self.register_buffer("moments", torch.zeros_like(self.first))

    def add(self, sequences: Tensor) -> None:
        """Take the sequences (n, T, d) of a batch in."""
        weight = self.weights.next_weight(len(sequences)).to(sequences.dtype)
        start, before, after = sequences[:, 0], sequences[:, :-1], sequences[:, 1:]
        found = [
            start.mT @ start,
            torch.einsum("nti,ntj->ij", before, before),
            torch.einsum("nti,ntj->ij", after, after),
            torch.einsum("nti,ntj->ij", after, before),
        ]
        self.moments.lerp_(torch.stack(found) / len(sequences), weight)

    @property
    def is_due(self) -> bool:
        """Whether the moments have moved enough for another search."""
        number = int(self.weights.num_batches)
        return number <= EVERY or number % EVERY == 0

    def better(self, factor: Tensor, mixing: Tensor) -> tuple[Tensor, Tensor]:
        """Return parameters, (d, d) each, that explain the moments better, in double precision."""
        size, own = self.weights.size, self.prior_states / self.length
        moments = (size * self.moments.double() + own * self.first.double()) / (size + own)
        found = [value.detach().double().requires_grad_() for value in (factor, mixing)]
        search = torch.optim.LBFGS(found, max_iter=MOVES, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            made = VectorAutoregression(scale_of(found[0]), found[1], self.length)
            value = -made.mean_log_prob(*moments)
            for parameter, slope in zip(found, torch.autograd.grad(value, found), strict=True):
                parameter.grad = slope.contiguous()
            return value

        with torch.enable_grad():
            search.step(loss)
        return found[0].detach(), found[1].detach()
