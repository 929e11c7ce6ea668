"""Mean and covariance of latents, followed from the chains of one batch to the next."""

import torch
from torch import Tensor, nn

from ..batch_weight import batch_weight

MEAN_WEIGHT = 1
"""Examples that the start counts for in the mean."""


class RunningWeights(nn.Module):
    """Weights of batches in running means, and how many vectors these stand for.

    Batch t has weight ``t^-0.6``: the first batches are soon forgotten, and later ones averaged
    over more and more.
    """

    inverse_size: Tensor
    num_batches: Tensor
    most: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inverse_size", torch.ones(()))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))
        # How many different vectors there are; unknown at first.
        self.register_buffer("most", torch.tensor(torch.inf))

    def next_weight(self, num_vectors: int) -> Tensor:
        """Count a batch and return its weight."""
        self.num_batches += 1
        weight = batch_weight(self.num_batches, least=0.0).to(self.inverse_size.dtype)
        # The sum of squared weights of single vectors: one over how many they count for.
        self.inverse_size.mul_((1 - weight) ** 2).add_(weight**2 / num_vectors)
        return weight

    @property
    def size(self) -> Tensor:
        """How many different vectors the running means stand for, in double precision."""
        return (1 / self.inverse_size.double()).minimum(self.most.double())


class RunningMoments(nn.Module):
    """Running mean and covariance of vectors, and the normal distribution that explains them.

    Stochastic approximation of EM. :meth:`mode` is that under a normal-inverse-Wishart prior: as if
    one further example had been seen that tells the mean of the start, and d that tell its
    covariance. They are a share d / (n + d) of n examples, so they do nothing where there are many,
    a half where there are as many as components, and the covariance is regular from the first batch
    on. What no data tell stays as it was at the start, instead of drifting.

    Parameters
    ----------
    dim : int
        Components of a vector, d.

    References
    ----------
    Delyon, Lavielle & Moulines, "Convergence of a stochastic approximation version of the EM
    algorithm" (1999); Gelman et al., "Bayesian data analysis" (2013), section 3.6, for the mode.
    """

    mean: Tensor
    covariance: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weights = RunningWeights()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("covariance", torch.zeros(dim, dim))

    def add(self, vectors: Tensor) -> None:
        """Take the vectors (m, d) of a batch in."""
        weight = self.weights.next_weight(len(vectors)).to(vectors.dtype)
        mean = vectors.mean(0)
        centred, apart = vectors - mean, mean - self.mean
        spread = centred.mT @ centred / len(vectors) + (1 - weight) * torch.outer(apart, apart)
        self.mean.lerp_(mean, weight)
        self.covariance.lerp_(spread, weight)

    def mode(self, first_mean: Tensor, first_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (d,) and Cholesky factor (d, d), in double precision.

        Parameters
        ----------
        first_mean, first_scale : Tensor, (d,)
            Mean and standard deviations at the start.
        """
        dim, size = len(first_mean), self.weights.size
        apart = self.mean.double() - first_mean.double()
        share = size / (size + MEAN_WEIGHT)
        start = dim * first_scale.double().square().diag()
        rest = MEAN_WEIGHT * share * torch.outer(apart, apart)
        covariance = (size * self.covariance.double() + start + rest) / (size + dim)
        return first_mean.double() + share * apart, torch.linalg.cholesky(covariance)
