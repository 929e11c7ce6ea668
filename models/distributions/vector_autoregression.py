"""A stationary vector autoregression as a Pyro distribution of whole sequences."""

import copy
import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class VectorAutoregression(dist.TorchDistribution):
    """``z_t = A z_{t-1} + Q^{1/2} ε`` with the stationary distribution as its start.

    Two matrices without constraint reach every stable A with every regular Q, and no other. In
    whitened states ``u = L⁻¹ z`` the start is N(0, I) and the transition a contraction K:

    - ``S = L Lᵀ`` is the stationary covariance,
    - ``K = M C⁻ᵀ`` with ``C Cᵀ = I + MᵀM``, so that ``I - K Kᵀ = (I + M Mᵀ)⁻¹``,
    - ``A = L K L⁻¹`` and ``Q = S - A S Aᵀ = L (I + M Mᵀ)⁻¹ Lᵀ``.

    Parameters
    ----------
    scale : Tensor, (d, d)
        L, lower triangular with a positive diagonal.
    mixing : Tensor, (d, d)
        M, any matrix; 0 for independent states.
    length : int
        T, states in a sequence.
    batch_shape : torch.Size, default ()
        Independent sequences.
    """

    arg_constraints = {  # noqa: RUF012 - torch reads it from the class
        "scale": constraints.lower_cholesky,
        "mixing": constraints.independent(constraints.real, 2),
    }
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self, scale: Tensor, mixing: Tensor, length: int, batch_shape: torch.Size | None = None
    ) -> None:
        self.scale = scale
        self.mixing = mixing
        self.length = length
        dim = len(scale)
        identity = torch.eye(dim, dtype=scale.dtype, device=scale.device)
        column_factor = torch.linalg.cholesky_ex(identity + mixing.mT @ mixing).L
        row_factor = torch.linalg.cholesky_ex(identity + mixing @ mixing.mT).L
        self._contraction: Tensor = torch.linalg.solve_triangular(
            column_factor.mT, mixing, upper=True, left=False
        )
        self._row_factor = row_factor
        # Both residuals are linear in the states: z_1 and z_t - A z_{t-1}, made white.
        self._whiten_start: Tensor = torch.linalg.solve_triangular(scale, identity, upper=False)
        self._whiten = row_factor.mT @ self._whiten_start
        self._whiten_before = row_factor.mT @ self._contraction @ self._whiten_start
        super().__init__(batch_shape or torch.Size(), torch.Size((length, dim)))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "VectorAutoregression":
        """Return the same distribution with more batch dimensions."""
        other = copy.copy(self)
        other._batch_shape = torch.Size(batch_shape)
        return other

    @property
    def transition(self) -> Tensor:
        """A, (d, d)."""
        matrix: Tensor = self.scale @ self._contraction @ self._whiten_start
        return matrix

    @property
    def innovation(self) -> Tensor:
        """Q, (d, d)."""
        return self.innovation_scale @ self.innovation_scale.mT

    @property
    def innovation_scale(self) -> Tensor:
        """A square root F of Q, ``F Fᵀ = Q``, (d, d)."""
        root: Tensor = torch.linalg.solve_triangular(
            self._row_factor.mT, self.scale, upper=True, left=False
        )
        return root

    @property
    def covariance(self) -> Tensor:
        """S, the covariance of each state, (d, d)."""
        return self.scale @ self.scale.mT

    @property
    def mean(self) -> Tensor:
        """Zero, of the shape of a sequence."""
        return self.scale.new_zeros(()).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """Of each component, the same at all times."""
        return (self.scale**2).sum(1).expand(self._extended_shape())

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw sequences, (*sample_shape, *batch_shape, T, d)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.scale.dtype, device=self.scale.device)
        return self.made_of(noise)

    def made_of(self, noise: Tensor) -> Tensor:
        """Return the sequences (..., T, d) that standard normal noise of that shape makes."""
        start = noise[..., :1, :] @ self.scale.mT
        if self.length == 1:
            return start
        return torch.cat([start, self._followed(start[..., 0, :], noise[..., 1:, :])], -2)

    def continued(self, last: Tensor, num_steps: int) -> Tensor:
        """Draw what follows given last states (..., d): (..., num_steps, d)."""
        noise = torch.randn(
            (*last.shape[:-1], num_steps, last.shape[-1]), dtype=last.dtype, device=last.device
        )
        return self._followed(last, noise)

    def _followed(self, last: Tensor, noise: Tensor) -> Tensor:
        """Return the states after ``last`` (..., d) under standard normal noise (..., k, d)."""
        transition, states = self.transition.mT, []
        for innovation in (noise @ self.innovation_scale.mT).unbind(-2):
            last = last @ transition + innovation
            states.append(last)
        return torch.stack(states, -2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of sequences (..., T, d), in nats."""
        if self._validate_args:
            self._validate_sample(value)
        start = value[..., 0, :] @ self._whiten_start.mT
        residual = value[..., 1:, :] @ self._whiten.mT - value[..., :-1, :] @ self._whiten_before.mT
        squares = (start**2).sum(-1) + (residual**2).sum((-2, -1))
        return self._density(squares)

    def _density(self, squares: Tensor) -> Tensor:
        constant = 0.5 * self.length * len(self.scale) * math.log(2 * math.pi)
        return -0.5 * squares - constant - self.log_volume()

    def log_volume(self) -> Tensor:
        """Return ``log |det|`` of the map :meth:`made_of`."""
        by_start = self.length * self.scale.diagonal().log().sum()
        by_residual = (self.length - 1) * self._row_factor.diagonal().log().sum()
        volume: Tensor = by_start - by_residual
        return volume

    def mean_log_prob(self, start: Tensor, before: Tensor, after: Tensor, both: Tensor) -> Tensor:
        """Return the mean log density of sequences with these second moments, in nats.

        Parameters
        ----------
        start, before, after, both : Tensor, (d, d)
            Means over sequences of ``z_1 z_1ᵀ``, and of the sums over t of ``z_t z_tᵀ`` without the
            last state, without the first, and of ``z_{t+1} z_tᵀ``.
        """
        squares = (
            _trace(self._whiten_start, start, self._whiten_start)
            + _trace(self._whiten, after, self._whiten)
            - 2 * _trace(self._whiten, both, self._whiten_before)
            + _trace(self._whiten_before, before, self._whiten_before)
        )
        return self._density(squares)


def _trace(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    """Return ``tr(left middle rightᵀ)``."""
    return ((left @ middle) * right).sum()
