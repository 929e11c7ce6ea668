"""The posterior of each example's latents as a potential energy on a flat tensor."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import kl_divergence

from ..speed.captures import Bound, Captures, versions_of
from .data import ExampleData
from .trace import Layout, LogDensity, Model, Record, Substitute, run, seeded

LARGEST_KEPT = 2**28
"""Bytes of data up to which a sorted copy is kept, with what graphs prepare from its parts."""


Tame = Callable[[Sequence[Tensor]], Sequence[Tensor]]


class Parts(NamedTuple):
    """Energies of the prior and of the likelihood, nats, with their gradients.

    Shapes are (...) for energies and (..., d) for gradients.
    """

    prior: Tensor
    prior_gradient: Tensor
    likelihood: Tensor
    likelihood_gradient: Tensor

    def energy(self, beta: Tensor) -> Tensor:
        """Return ``-log p(z) - β log p(y | z)``."""
        return self.prior + beta * self.likelihood

    def gradient(self, beta: Tensor) -> Tensor:
        """Return its gradient."""
        return self.prior_gradient + beta[..., None] * self.likelihood_gradient


@dataclass(frozen=True)
class Potential:
    """``E(z) = -log p(z) - β log p(y | z)`` of each example, in nats, in unconstrained space.

    Made by :func:`bind`. Kernels see one flat tensor (n, d); a latent with constrained support is
    moved to the whole space by its bijection, whose log-Jacobian is part of the energy. The model
    is run in whichever mode (training, evaluation) it is in.

    Energies with their gradients are captured as a graph of tensor operations at the first call of
    a shape, and then evaluated without Pyro; a model that cannot be captured is run as it is, which
    a ``CaptureWarning`` says. Changes of the model, also of its weights in place, are seen, all but
    those through ``parameter.data``, which torch does not count.
    """

    model: Model
    data: ExampleData
    layout: Layout
    beta: Tensor | None = None
    autocast: torch.dtype | None = None
    captures: Captures | None = field(default_factory=Captures, repr=False, compare=False)
    _repeats: dict[int, "Potential"] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _bounds: dict[Any, Bound] = field(default_factory=dict, init=False, repr=False, compare=False)
    _found_unchanged: set[Any] | None = field(default=None, init=False, repr=False, compare=False)
    _ordered: "_Ordered | None" = field(default=None, init=False, repr=False, compare=False)

    @property
    def num_examples(self) -> int:
        """Number of examples, n."""
        return self.data.num_examples

    @property
    def latent_dim(self) -> int:
        """Number of unconstrained latent components of one example, d."""
        return self.layout.latent_dim

    @property
    def compiles(self) -> bool:
        """Whether its graphs are compiled."""
        return self.captures is not None and self.captures.compiles

    def fuses(self, name: Hashable) -> bool:
        """Return whether :meth:`fused` compiles an evaluation of that name, or still may."""
        return self.captures is not None and self.compiles and self.captures.can_capture(name)

    def on(self, data: ExampleData) -> "Potential":
        """Return the potential of other examples of the same model."""
        return dataclasses.replace(self, data=data)

    def of_fixed_model(self) -> "Potential":
        """Return the potential for as long as the model stays: that is looked at once.

        Changes of tensors in place are seen.
        """
        fixed = dataclasses.replace(self)
        object.__setattr__(fixed, "_bounds", self._bounds)
        object.__setattr__(fixed, "_found_unchanged", set())
        return fixed

    def of_model(self, model: Model) -> "Potential":
        """Return the potential of another model of the same form."""
        return dataclasses.replace(self, model=model, captures=Captures(self.compiles))

    def cast(self, autocast: torch.dtype | None) -> "Potential":
        """Return the potential with matrix products and convolutions in another precision."""
        return dataclasses.replace(self, autocast=autocast)

    def rows(self, index: Int64[Tensor, " k"] | slice) -> "Potential":
        """Return the potential of some of the examples, in the order of ``index``."""
        beta = None if self.beta is None else self.beta[index]
        return dataclasses.replace(self, data=self.data.select(index), beta=beta)

    def leading(self, order: Int64[Tensor, " n"], size: int) -> "Potential":
        """Return the potential of the first ``size`` examples of an order.

        Those of the last order that was asked for are kept, for whoever asks for them again, unless
        the data is large.
        """
        tensors = [*self.data.tensors(), *([] if self.beta is None else [self.beta])]
        versions = versions_of(tensors)
        if versions is None or sum(tensor.nbytes for tensor in tensors) > LARGEST_KEPT:
            return self.rows(order[:size])
        kept = self._ordered
        if kept is None or kept.versions != versions or not torch.equal(kept.order, order):
            kept = _Ordered(order, versions, self.rows(order), {})
            object.__setattr__(self, "_ordered", kept)
        if size not in kept.first:
            kept.first[size] = kept.whole.rows(slice(size))
        return kept.first[size]

    def repeated(self, times: int) -> "Potential":
        """Return the potential of all examples ``times`` times over, made once and kept."""
        if times not in self._repeats:
            beta = None if self.beta is None else self.beta.repeat(times)
            self._repeats[times] = dataclasses.replace(
                self, data=self.data.repeat(times), beta=beta
            )
        return self._repeats[times]

    def parts(self, position: Float[Tensor, "n d"]) -> Parts:
        """Return the energies of the prior and of the likelihood and their gradients, detached."""
        return Parts(*self._evaluated("parts", Potential._parts, position))

    def _parts(self, position: Tensor) -> tuple[Tensor, ...]:
        position = position.detach().requires_grad_()
        with torch.enable_grad():
            density = self._density(position)
            energies = -density.prior, -self._weighted(density.likelihood)
            gradients = [
                torch.autograd.grad(
                    energy.sum(), position, retain_graph=True, materialize_grads=True
                )[0]
                if energy.requires_grad
                else torch.zeros_like(position)
                for energy in energies
            ]
        prior, likelihood = (energy.detach() for energy in energies)
        return prior, gradients[0], likelihood, gradients[1]

    def fused(
        self,
        name: Hashable,
        evaluation: Callable[..., tuple[Tensor, ...]],
        *varying: Tensor,
        num_steps: int = 1,
        tamed: Tame | None = None,
    ) -> tuple[Tensor, ...]:
        """Return ``evaluation(potential, *varying)``, compiled as one if this potential compiles.

        Parameters
        ----------
        name : hashable
            What the evaluation is; two of one name are the same function.
        evaluation : callable
            A function of tensors alone, such as a step of a kernel, that uses the potential it is
            handed; it is not differentiated.
        *varying : Tensor
            Its arguments.
        num_steps : int, default 1
            Steps of a kernel that it makes: it is compiled after some.
        tamed : callable, optional
            From the arguments to others where rounding does not grow, at which what is compiled is
            compared with what it is made from: chains that differ by rounding part.
        """
        if not self.compiles:
            return evaluation(self, *varying)
        return self._evaluated(name, evaluation, *varying, num_steps=num_steps, tamed=tamed)

    def _evaluated(
        self,
        name: Hashable,
        evaluation: Callable[..., tuple[Tensor, ...]],
        *varying: Tensor,
        num_steps: int = 0,
        tamed: Tame | None = None,
    ) -> tuple[Tensor, ...]:
        """Evaluate by a captured graph, or as it is while there is none.

        An evaluation that makes steps of a kernel need not be captured.
        """
        if self.captures is None:
            return evaluation(self, *varying)
        key = _key_of(name, varying)
        bound = self._bounds.get(key)
        if bound is None or not self._is_unchanged(key, bound):
            bound = self._bind(evaluation, key, varying, num_steps, tamed)
            if bound is None:
                # What is inside a step that will be captured whole need not be captured.
                inside = num_steps > 0 and self.captures.can_capture(name)
                return evaluation(self._plain() if inside else self, *varying)
            if bound.settled:
                self._bounds[key] = bound
        return bound(*varying)

    def _is_unchanged(self, key: Any, bound: Bound) -> bool:
        if self._found_unchanged is None:
            return bound.contents.unchanged()
        if key not in self._found_unchanged:
            if not bound.contents.unchanged():
                return False
            self._found_unchanged.add(key)
        return True

    def _plain(self) -> "Potential":
        return dataclasses.replace(self, captures=None)

    def _bind(
        self,
        evaluation: Callable[..., tuple[Tensor, ...]],
        key: tuple[Any, ...],
        varying: tuple[Tensor, ...],
        num_steps: int,
        tamed: Tame | None,
    ) -> Bound | None:
        assert self.captures is not None
        split = len(varying)

        def of_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
            given = tensors[split:]
            beta = None if self.beta is None else given[-1]
            data = self.data.with_tensors(given)
            plain = dataclasses.replace(self, data=data, beta=beta, captures=None)
            return evaluation(plain, *tensors[:split])

        given = self.data.tensors() + ([] if self.beta is None else [self.beta])
        key = (*key, self.layout, self.data.signature(), self.beta is None, self.autocast)
        detached = [tensor.detach() for tensor in (tamed(varying) if tamed else varying)]
        return self.captures.bound(self.model, key, of_tensors, detached, given, num_steps)

    def _weighted(self, of_likelihood: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return of_likelihood if self.beta is None else self.beta * of_likelihood

    def _density(self, position: Float[Tensor, "n d"]) -> LogDensity:
        if position.shape != (self.num_examples, self.latent_dim):
            raise ValueError(
                f"position must have shape {(self.num_examples, self.latent_dim)}, got "
                f"{tuple(position.shape)}"
            )
        density = LogDensity(self.layout, position)
        if self.autocast is None:
            run(self.model, self.data, density)
        else:
            # Casts of weights that are kept would be kept from one capture to the next.
            with torch.autocast(position.device.type, self.autocast, cache_enabled=False):
                run(self.model, self.data, density)
        return density

    def energy(self, position: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the energies (n,), differentiable in the position and in θ."""
        density = self._density(position)
        return -(density.prior + self._weighted(density.likelihood))

    def __call__(
        self, position: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Return energies (n,) and their gradients (n, d), both detached."""
        energy, gradient = self._evaluated("energy", Potential._energy_and_gradient, position)
        return energy, gradient

    def _energy_and_gradient(self, position: Tensor) -> tuple[Tensor, ...]:
        position = position.detach().requires_grad_()
        with torch.enable_grad():
            energy = self.energy(position)
            (gradient,) = torch.autograd.grad(energy.sum(), position)
        return energy.detach(), gradient

    def loss(self, position: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        """Return the mean of ``-log p(y, z)`` over examples, differentiable in θ.

        Its gradient at posterior draws is that of the negative log-likelihood by Fisher's
        identity, ``∇ log p(y) = E[∇ log p(y, z) | y]`` (Han et al. 2017, eq. 4).
        """
        return self.energy(position.detach()).mean()

    def loss_and_gradients(
        self, position: Float[Tensor, "n d"], parameters: Sequence[Tensor]
    ) -> tuple[Float[Tensor, ""], list[Tensor]]:
        """Return the :meth:`loss` and its gradient in each of the parameters, all detached.

        Parameters
        ----------
        position : Tensor, (n, d)
            Where the latents are.
        parameters : sequence of Tensor
            Leaves that the loss depends on and that require a gradient.
        """

        def evaluation(potential: Potential, position: Tensor) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                loss = potential.loss(position)
                gradients = torch.autograd.grad(loss, parameters)
            return loss.detach(), *gradients

        name = ("loss", *map(id, parameters))
        loss, *gradients = self._evaluated(name, evaluation, position)
        return loss, gradients

    def log_likelihood(self, position: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return ``log p(y | z)`` of each example, in nats, detached; it is given z."""
        with torch.no_grad():
            likelihood: Tensor = self._density(position).likelihood
        return likelihood

    def tempered(self, beta: Float[Tensor, " n"]) -> "Potential":
        """Return the potential with the likelihood alone raised to the power ``beta`` (n,)."""
        if beta.shape != (self.num_examples,):
            raise ValueError(
                f"beta must have shape ({self.num_examples},), got {tuple(beta.shape)}"
            )
        return dataclasses.replace(self, beta=beta)

    def metric(self, position: Float[Tensor, "n d"]) -> Float[Tensor, "n d d"]:
        """Return the prior's curvature plus ``JᵀFJ``, F the Fisher information of the data.

        The prior's curvature is its negative Hessian with negative eigenvalues set to zero.

        References
        ----------
        Girolami & Calderhead, "Riemann manifold Langevin and Hamiltonian Monte Carlo" (2011),
        section 4.
        """
        prior, fisher = self._curvature(position)
        values, vectors = torch.linalg.eigh(prior)
        prior = vectors * values.clamp(min=0.0)[:, None, :] @ vectors.mT
        total: Tensor = prior + fisher
        return total

    def metric_diag(self, position: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return the diagonal of the metric, the prior's part cut off at zero entry by entry."""
        prior, fisher = self._curvature(position)
        return (prior.diagonal(dim1=1, dim2=2).clamp(min=0.0)) + fisher.diagonal(dim1=1, dim2=2)

    def _curvature(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prior's negative Hessian and JᵀFJ, each (n, d, d).

        JᵀFJ is the Hessian in z of ``KL(p(y | z0) ‖ p(y | z))`` at z0, which takes nothing but
        the distributions that the model made.
        """
        with torch.no_grad():
            fixed = self._density(position)
        position = position.detach().requires_grad_()
        with torch.enable_grad():
            density = self._density(position)
            divergence = sum(
                (
                    _divergence(name, fixed.fns[name], density.fns[name])
                    for name in self.layout.observed
                ),
                torch.zeros_like(density.prior),
            )
            divergence = self._weighted(divergence)
            return _hessians(-density.prior, position), _hessians(divergence, position)

    def flatten(self, latents: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        """Return the flat unconstrained position of constrained latents by site name, (n, ...)."""
        missing = {site.name for site in self.layout.sites} ^ set(latents)
        if missing:
            raise ValueError(
                f"latents must be given for the sites {[s.name for s in self.layout.sites]}, got "
                f"{sorted(latents)}"
            )
        handler = Substitute(latents)
        with torch.no_grad():
            run(self.model, self.data, handler)
        parts = [handler.unconstrained[site.name] for site in self.layout.sites]
        return torch.cat([part.reshape(self.num_examples, -1) for part in parts], 1)

    def unflatten(self, position: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """Return the constrained latents by site name, (n, ...)."""
        if all(site.is_real for site in self.layout.sites):
            return {
                site.name: position[:, site.start : site.stop].reshape(-1, *site.shape)
                for site in self.layout.sites
            }
        with torch.no_grad():
            return self._density(position).values

    def predict(self, position: Float[Tensor, "n d"], seed: int) -> dict[str, Tensor]:
        """Return one draw of each observed site given the latents, missing cells included."""
        handler = Substitute(self.unflatten(position), predict=True)
        with torch.no_grad(), seeded(seed):
            run(self.model, self.data, handler)
        return handler.predicted

    def draw_prior(self, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return one draw of the latents from the prior and of the observed sites given it."""
        record = Substitute({}, predict=True)
        latents = Record()
        with torch.no_grad(), seeded(seed), latents:
            run(self.model, self.data, record)
        names = {site.name for site in self.layout.sites}
        drawn = {site["name"]: site["value"] for site in latents.sites if site["name"] in names}
        return drawn, record.predicted


class _Ordered(NamedTuple):
    """Examples in an order, and the potentials of the first so many of them."""

    order: Int64[Tensor, " n"]
    versions: list[int]
    whole: Potential
    first: dict[int, Potential]


def _key_of(name: Hashable, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    return (name, *((v.shape, v.stride(), v.dtype, v.device) for v in tensors))


def validate(model: Model, data: ExampleData) -> None:
    """Let a model that has a ``validate_data`` check what it is given, before work starts."""
    check = getattr(model, "validate_data", None)
    if callable(check):
        check(*data.args, **data.kwargs)


def dtype_and_device(model: Model) -> tuple[torch.dtype, torch.device]:
    """Return what a model computes in: its first floating-point parameter's, or torch's default."""
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            if parameter.is_floating_point():
                return parameter.dtype, parameter.device
    return torch.get_default_dtype(), torch.get_default_device()


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
