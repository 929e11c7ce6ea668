"""The oracle of the dynamics' tests: Kalman filter, smoother and EM with missing cells.

Written from the textbook recursions (Shumway & Stoffer, "Time Series Analysis and Its
Applications", chapter 6), batched over sequences; nothing here comes from the library.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class LinearSystem(NamedTuple):
    """``z_t = A z_{t-1} + N(0, Q)``, ``y_t = C z_t + b + N(0, r I)``, z_1 stationary."""

    transition: Tensor
    innovation: Tensor
    loadings: Tensor
    bias: Tensor
    variance: float

    def stationary(self) -> Tensor:
        """Return S by solving its linear equation."""
        dim = len(self.transition)
        kronecker = torch.kron(self.transition, self.transition)
        identity = torch.eye(dim * dim, dtype=kronecker.dtype)
        return torch.linalg.solve(identity - kronecker, self.innovation.reshape(-1)).reshape(
            dim, dim
        )


class Smoothed(NamedTuple):
    """Posterior moments given all observed cells, and the log-likelihood of each sequence."""

    mean: Tensor  # (n, T, d)
    covariance: Tensor  # (n, T, d, d)
    lagged: Tensor  # (n, T - 1, d, d), of z_{t+1} with z_t
    log_likelihood: Tensor  # (n,)


def smooth(system: LinearSystem, y: Tensor) -> Smoothed:
    """Return the smoother's moments for y (n, T, columns) with NaN where missing."""
    transition, innovation, loadings, bias, variance = system
    seen = ~y.isnan()
    n, length, _ = y.shape
    mean = torch.zeros(n, len(transition), dtype=y.dtype)
    covariance = system.stationary().expand(n, -1, -1)
    predicted, filtered = [], []
    total = torch.zeros(n, dtype=y.dtype)
    for t in range(length):
        if t > 0:
            mean = mean @ transition.T
            covariance = transition @ covariance @ transition.T + innovation
        predicted.append((mean, covariance))
        rows = seen[:, t, :, None] * loadings  # (n, columns, d)
        error = torch.where(seen[:, t], y[:, t].nan_to_num() - mean @ loadings.T - bias, 0.0)
        # A cell that is missing becomes one of variance 1 that is what it was expected to be.
        noise = torch.where(seen[:, t], variance, 1.0).diag_embed()
        spread = rows @ covariance @ rows.mT + noise
        gain = torch.linalg.solve(spread, rows @ covariance).mT
        total = total - 0.5 * (
            (error * torch.linalg.solve(spread, error)).sum(1)
            + torch.linalg.slogdet(spread).logabsdet
            + seen[:, t].sum(1) * math.log(2 * math.pi)
        )
        mean = mean + (gain @ error[:, :, None])[:, :, 0]
        covariance = covariance - gain @ rows @ covariance
        filtered.append((mean, covariance))
    means, covariances, lagged = [mean], [covariance], []
    for t in reversed(range(length - 1)):
        before_mean, before = predicted[t + 1]
        back = torch.linalg.solve(before, transition @ filtered[t][1]).mT
        lagged.append(covariance @ back.mT)
        mean = filtered[t][0] + (back @ (mean - before_mean)[:, :, None])[:, :, 0]
        covariance = filtered[t][1] + back @ (covariance - before) @ back.mT
        means.append(mean)
        covariances.append(covariance)
    return Smoothed(
        torch.stack(means[::-1], 1),
        torch.stack(covariances[::-1], 1),
        torch.stack(lagged[::-1], 1),
        total,
    )


def dense(system: LinearSystem, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, covariance and log-likelihood of one sequence by conditioning one big normal.

    The mean is (T d,), the covariance (T d, T d).
    """
    transition, _, loadings, bias, variance = system
    length, _ = y.shape
    dim = len(transition)
    power, blocks = system.stationary(), []
    for _ in range(length):
        blocks.append(power)
        power = transition @ power
    prior = torch.cat(
        [
            torch.cat([blocks[i - j] if i >= j else blocks[j - i].T for j in range(length)], 1)
            for i in range(length)
        ]
    )
    seen = ~y.reshape(-1).isnan()
    rows = torch.block_diag(*[loadings] * length)[seen]
    residual = (y - bias).reshape(-1)[seen]
    spread = rows @ prior @ rows.T + variance * torch.eye(len(rows), dtype=y.dtype)
    gain = torch.linalg.solve(spread, rows @ prior).T
    evidence = torch.distributions.MultivariateNormal(torch.zeros_like(residual), spread)
    assert prior.shape == (length * dim, length * dim)
    return gain @ residual, prior - gain @ rows @ prior, evidence.log_prob(residual)


def em_step(system: LinearSystem, y: Tensor) -> LinearSystem:
    """Return the system after one EM step; (A, Q), which the start ties together, by LBFGS."""
    moments = smooth(system, y)
    n, length, _ = y.shape
    mean, dim = moments.mean, len(system.transition)
    second = moments.covariance + mean[..., :, None] * mean[..., None, :]
    lagged = moments.lagged + mean[:, 1:, :, None] * mean[:, :-1, None, :]
    # Regress each column on (z, 1) over the cells where it is seen.
    seen = (~y.isnan()).to(y.dtype)
    values = y.nan_to_num()
    ones = torch.ones(n, length, 1, dtype=y.dtype)
    extended = torch.cat([mean, ones], 2)
    squares = torch.nn.functional.pad(second, (0, 1, 0, 1))
    squares[..., dim, :] = extended
    squares[..., :, dim] = extended
    gram = torch.einsum("ntc,ntij->cij", seen, squares)
    right = torch.einsum("ntc,ntc,nti->ci", seen, values, extended)
    weights = torch.linalg.solve(gram, right)
    explained = torch.einsum("ci,ci->", weights, right)
    variance = float(((seen * values**2).sum() - explained) / seen.sum())
    transition, innovation = _maximised_dynamics(
        system, second[:, 0].sum(0), second[:, :-1].sum((0, 1)), second[:, 1:].sum((0, 1)),
        lagged.sum((0, 1)), n, n * (length - 1),
    )  # fmt: skip
    return LinearSystem(transition, innovation, weights[:, :dim], weights[:, dim], variance)


def _maximised_dynamics(
    system: LinearSystem,
    start: Tensor,
    before: Tensor,
    after: Tensor,
    lagged: Tensor,
    num_starts: int,
    num_pairs: int,
) -> tuple[Tensor, Tensor]:
    transition = system.transition.contiguous().clone().requires_grad_()
    factor = torch.linalg.cholesky(system.innovation).contiguous().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [transition, factor], max_iter=50, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )

    def objective() -> Tensor:
        innovation = factor.tril() @ factor.tril().T
        stationary = system._replace(transition=transition, innovation=innovation).stationary()
        residual = (
            after - transition @ lagged.T - lagged @ transition.T
            + transition @ before @ transition.T
        )  # fmt: skip
        value: Tensor = torch.linalg.solve(stationary, start).trace()
        value = value + num_starts * torch.linalg.slogdet(stationary).logabsdet
        value = value + torch.linalg.solve(innovation, residual).trace()
        value = value + num_pairs * torch.linalg.slogdet(innovation).logabsdet
        return value / (num_starts + num_pairs)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective()
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        return transition.detach(), factor.tril() @ factor.tril().T
