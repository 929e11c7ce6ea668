"""Exact marginal likelihoods: of normal models in closed form, of one latent by quadrature."""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from explainaway.models import GeneratorModel

REACH = 9.0
"""Standard deviations to which a standard normal latent is integrated; 1e-19 lies beyond."""

NODES = 901
"""Nodes of the trapezoidal rule, 1/50 of a standard deviation apart."""


def normal_log_density(y: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return the log density of the observed cells of normal rows.

    Parameters
    ----------
    y : Tensor, (n, D)
        NaN where not observed.
    mean : Tensor, (D,) or (n, D)
    covariance : Tensor, (D, D)

    Returns
    -------
    Tensor, (n,)
        Nats.
    """
    seen = ~y.isnan()
    residual = torch.where(seen, y.nan_to_num() - mean, 0.0)
    if bool(seen.all()):
        factor = torch.linalg.cholesky(covariance)
        solved = torch.linalg.solve_triangular(factor, residual.mT, upper=False).mT
    else:
        # A hidden cell is made one of variance 1 that is independent and as expected.
        both = seen[:, :, None] & seen[:, None, :]
        factor = torch.linalg.cholesky(
            torch.where(both, covariance, 0.0) + (~seen).to(y.dtype).diag_embed()
        )
        solved = torch.linalg.solve_triangular(factor, residual[..., None], upper=False)[..., 0]
    log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = 0.5 * math.log(2 * math.pi) * seen.sum(-1)
    density: Tensor = -0.5 * solved.square().sum(-1) - log_volume - constant
    return density


class Conditional(NamedTuple):
    """Cells of normal rows given the observed ones.

    Attributes
    ----------
    mean, spread : Tensor, (n, D)
        Observed cells have themselves and 0.
    """

    mean: Tensor
    spread: Tensor


def given_observed(y: Tensor, mean: Tensor, covariance: Tensor) -> Conditional:
    """Return mean and standard deviation of the hidden cells of normal rows.

    Parameters
    ----------
    y : Tensor, (n, D)
        NaN where hidden.
    mean : Tensor, (D,)
    covariance : Tensor, (D, D)
    """
    seen = ~y.isnan()
    both = seen[:, :, None] & seen[:, None, :]
    factor = torch.linalg.cholesky(
        torch.where(both, covariance, 0.0) + (~seen).to(y.dtype).diag_embed()
    )
    across = torch.where(seen[:, :, None], covariance, 0.0)  # (n, observed, D)
    solved = torch.linalg.solve_triangular(factor, across, upper=False)
    residual = torch.where(seen, y.nan_to_num() - mean, 0.0)[..., None]
    white = torch.linalg.solve_triangular(factor, residual, upper=False)
    expected = mean + (solved * white).sum(1)
    variance = covariance.diagonal() - solved.square().sum(1)
    return Conditional(
        torch.where(seen, y, expected), torch.where(seen, 0.0, variance.clamp(min=0).sqrt())
    )


def integrated(conditional: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``log ∫ p(y_i | z) N(z; 0, 1) dz`` of each example.

    The trapezoidal rule converges geometrically for such integrands (Trefethen & Weideman, "The
    Exponentially Convergent Trapezoidal Rule", SIAM Review 2014): it is exact up to rounding as
    long as the posteriors are wider than the distance of two nodes.

    Parameters
    ----------
    conditional : callable
        From nodes (k,) to ``log p(y_i | z_k)`` (n, k).
    """
    nodes = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    log_weight = math.log(2 * REACH / (NODES - 1)) - 0.5 * math.log(2 * math.pi)
    return torch.logsumexp(conditional(nodes) - nodes.square() / 2 + log_weight, 1)


class Affine(NamedTuple):
    """``output = weight z + bias`` with z standard normal.

    Attributes
    ----------
    weight : Tensor, (D, d)
    bias : Tensor, (D,)
    """

    weight: Tensor
    bias: Tensor


def affine_of(model: GeneratorModel) -> Affine:
    """Return a linear generator as it stands, its normal prior absorbed, in double precision."""
    network = copy.deepcopy(model.network).double()
    mean, factor = normal_prior(model)
    with torch.no_grad():
        bias = network(torch.zeros_like(mean)[None])[0].reshape(-1)
        identity = torch.eye(len(mean), dtype=torch.float64)
        weight = (network(identity).reshape(len(mean), -1) - bias).mT
    return Affine(weight @ factor, bias + weight @ mean)


def normal_prior(model: GeneratorModel) -> tuple[Tensor, Tensor]:
    """Return mean (d,) and Cholesky factor (d, d) of the covariance of a normal prior.

    They are read off its log density, which is quadratic, so that it does not matter how the prior
    keeps them.

    Raises
    ------
    ValueError
        If the log density is not quadratic.
    """
    prior = copy.deepcopy(model.prior).double().distribution()

    def energy(z: Tensor) -> Tensor:
        return -prior.log_prob(z)

    origin = torch.zeros(prior.event_shape, dtype=torch.float64)
    precision = torch.autograd.functional.hessian(energy, origin)
    at_origin = origin.clone().requires_grad_()
    (pull,) = torch.autograd.grad(energy(at_origin), at_origin)
    elsewhere = torch.linspace(-1.0, 2.0, len(origin), dtype=torch.float64)
    expected = energy(origin) + pull @ elsewhere + elsewhere @ precision @ elsewhere / 2
    if not torch.allclose(energy(elsewhere), expected, rtol=1e-9, atol=1e-9):
        raise ValueError(f"the prior must be normal, got {model.prior!r}")
    covariance = torch.linalg.inv(precision).detach()
    factor = torch.linalg.cholesky((covariance + covariance.mT) / 2)
    return (-covariance @ pull).detach(), factor
