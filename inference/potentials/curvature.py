"""The curvature of a potential: what Riemannian kernels call the metric."""

from typing import Any, Protocol

import torch
from jaxtyping import Float
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import kl_divergence

from .trace import Layout, LogDensity


class Densities(Protocol):
    """What the curvature is of: a :class:`Potential`."""

    @property
    def layout(self) -> Layout:
        """Its sites."""

    @property
    def beta(self) -> Tensor | None:
        """Powers of the likelihood, (n,)."""

    def density(self, position: Tensor) -> LogDensity:
        """Run the model at a position."""


def curvature(
    potential: Densities, position: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "n d d"], Float[Tensor, "n d d"]]:
    """Return the prior's negative Hessian and JᵀFJ, each (n, d, d).

    JᵀFJ is the Hessian in z of ``KL(p(y | z0) ‖ p(y | z))`` at z0, which takes nothing but
    the distributions that the model made.

    Raises
    ------
    NotImplementedError
        If the Fisher information of an observed site is not known; names the site. If the whole
        model is one example.
    """
    if potential.layout.is_joint:
        raise NotImplementedError(
            "the metric is of examples in a plate: kernels that use it (RiemannianMALA, "
            "GaussNewton) cannot sample a whole model as one example; HMC() adapts a dense mass"
        )
    with torch.no_grad():
        fixed = potential.density(position)
    position = position.detach().requires_grad_()
    with torch.enable_grad():
        density = potential.density(position)
        divergence = sum(
            (
                _divergence(name, fixed.fns[name], density.fns[name])
                for name in potential.layout.observed
            ),
            torch.zeros_like(density.prior),
        )
        if potential.beta is not None:
            divergence = potential.beta * divergence
        return _hessians(-density.prior, position), _hessians(divergence, position)


def positive_part(matrices: Float[Tensor, "n d d"]) -> Float[Tensor, "n d d"]:
    """Return symmetric matrices with their negative eigenvalues set to zero."""
    values, vectors = torch.linalg.eigh(matrices)
    positive: Tensor = vectors * values.clamp(min=0.0)[:, None, :] @ vectors.mT
    return positive


def _divergence(name: str, fixed: tuple[Any, Any, Any], moving: tuple[Any, Any, Any]) -> Tensor:
    fn, scale, mask = moving
    if hasattr(fn, "fisher"):
        # A quadratic with the Fisher information as its Hessian.
        value = sum(
            0.5 * (information.detach() * (parameter - parameter.detach()) ** 2).flatten(1).sum(1)
            for parameter, information in fn.fisher()
        )
        weighted: Tensor = scale_and_mask(value, scale, mask)
        return weighted
    try:
        value = kl_divergence(fixed[0], fn)
    except NotImplementedError:
        raise NotImplementedError(
            f"the metric needs the Fisher information of site {name!r}, but torch knows no KL "
            f"divergence for {type(fn).__name__}: give the distribution a method fisher() that "
            "returns pairs (parameter, information per cell)"
        ) from None
    divergence: Tensor = scale_and_mask(value, scale, mask)
    return divergence.reshape(divergence.shape[0], -1).sum(1)


def _hessians(value: Tensor, position: Tensor) -> Tensor:
    """Return the Hessian of each example's value, (n, d, d); examples do not interact."""
    n, d = position.shape
    if not value.requires_grad:
        return position.new_zeros(n, d, d)
    (gradient,) = torch.autograd.grad(
        value.sum(), position, create_graph=True, materialize_grads=True
    )
    if not gradient.requires_grad:
        return position.new_zeros(n, d, d)
    each = torch.eye(d, dtype=position.dtype, device=position.device)
    (rows,) = torch.autograd.grad(
        gradient,
        position,
        each[:, None, :].expand(d, n, d),
        # The transform of a constrained latent is part of the prior's graph and of the data's.
        retain_graph=True,
        is_grads_batched=True,
        materialize_grads=True,
    )
    hessians: Tensor = rows.transpose(0, 1).detach()
    return hessians
