"""What a mask leaves out of a site: values that nobody observed, and latents that have no prior.

``pyro.sample(name, fn, obs=y, obs_mask=seen)`` makes two sites of one: ``name_observed``, masked
where y was not seen, and the latent ``name_unobserved``, masked where it was. The latent has
components that nothing depends on and that nothing keeps in place. Any proper density may be
theirs without changing the posterior of all else; here it is the standard normal one, in
unconstrained space, so that they are neither counted nor in anybody's way. So are latents under
``poutine.mask`` (padding of sequences, say) where nothing depends on what the mask leaves out;
where something does, a mask means what it means in Pyro, a flat prior.
"""

import math
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import constraints, transform_to

_OBSERVED, _UNOBSERVED = "_observed", "_unobserved"


def unmasked(site: Any) -> tuple[Any, Any]:
    """Return a site's distribution without its mask, and the mask; None or True leaves nothing out.

    The mask is of the distribution's batch shape, or broadcasts to it.
    """
    fn, mask = site["fn"], site["mask"]
    if not isinstance(fn, dist.MaskedDistribution):
        return fn, mask
    own = fn._mask
    if mask is None or mask is True:
        return fn.base_dist, own
    return fn.base_dist, torch.as_tensor(mask) & own


def is_masked(site: Any) -> bool:
    """Return whether a mask may leave out some of a site."""
    mask = unmasked(site)[1]
    return mask is not None and mask is not True


def made_by_obs_mask(name: str, observed: Sequence[str]) -> bool:
    """Return whether a latent site is what ``obs_mask`` makes of values that were not observed."""
    return name.endswith(_UNOBSERVED) and name.removesuffix(_UNOBSERVED) + _OBSERVED in observed


def filled(site: Any, value: Tensor) -> Tensor:
    """Return an observed value with a number that its distribution can have for masked NaN.

    A NaN that is masked after its log density still reaches the gradient.
    """
    fn, mask = unmasked(site)
    if not isinstance(mask, Tensor) or not value.is_floating_point():
        return value
    cells: Tensor = mask.reshape(mask.shape + (1,) * fn.event_dim)
    return torch.where(~cells & value.isnan(), _possible(fn.support, value), value)


def with_hidden(site: Any, given: Tensor | None = None) -> Tensor:
    """Return an observed value, or what was given as it, with NaN for what a mask leaves out."""
    value: Tensor = site["value"].detach() if given is None else given
    fn, mask = unmasked(site)
    if not isinstance(mask, Tensor) or not value.is_floating_point():
        return value
    return torch.where(mask.reshape(mask.shape + (1,) * fn.event_dim), value, torch.nan)


def _possible(support: Any, value: Tensor) -> Tensor:
    base = support
    while isinstance(base, constraints.independent):
        base = base.base_constraint
    if base.is_discrete:
        return value.new_full((), float(getattr(base, "lower_bound", 0)))
    transform = transform_to(support)
    possible: Tensor = transform(value.new_zeros(transform.inverse_shape(value.shape)))
    return possible


def log_density_with_rest(
    site: Any, unconstrained: Tensor, value: Tensor, jacobian: Tensor | None
) -> Tensor:
    """Return a latent's log density in unconstrained space, standard normal where masked."""
    fn, mask = unmasked(site)
    log_prob: Tensor = scale_and_mask(fn.log_prob(value), site["scale"])
    density = log_prob if jacobian is None else log_prob + jacobian
    normal = -0.5 * unconstrained**2 - 0.5 * math.log(2 * math.pi)
    rest = normal.flatten(density.dim()).sum(-1) if normal.dim() > density.dim() else normal
    seen = torch.as_tensor(mask, device=density.device)
    return torch.where(seen, density, rest)


def nothing_depends_on(site: Any, gradient: Tensor) -> bool:
    """Return whether a log density's gradient in a latent's value is zero wherever it is masked."""
    fn, mask = unmasked(site)
    left_out = ~torch.as_tensor(mask, device=gradient.device).expand(fn.batch_shape)
    return bool((gradient[left_out] == 0).all())
