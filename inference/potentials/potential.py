"""The posterior of each example's latents as a potential energy on a flat tensor."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .curvature import curvature, positive_part
from .data import ExampleData, Identity
from .evaluation import PLAIN, Evaluator, Task
from .factorizations import FailedFactorsAreNaN, LinAlgError
from .gradients import gradients as with_gradients
from .joint import density_of, tried_over_chains
from .trace import Layout, LogDensity, Model, Record, Substitute, log_density, run, seeded


class Parts(NamedTuple):
    """Energies of the prior and of the (tempered) likelihood, nats, with their gradients.

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


@dataclass(frozen=True, eq=False)
class Potential:
    """``E(z) = -log p(z) - β log p(y | z)`` of each example, in nats, in unconstrained space.

    Made by :func:`bind`. Kernels see one flat tensor (n, d); a latent with constrained support is
    moved to the whole space by its bijection, whose log-Jacobian is part of the energy. The model
    is run in whichever mode (training, evaluation) it is in.

    Attributes
    ----------
    model : callable
        A Pyro model.
    data : ExampleData
        Its arguments, n examples.
    layout : Layout
        Where each latent site lies in the flat position.
    beta : Tensor, (n,), optional
        Powers of the likelihood; left out, they are one.
    autocast : torch.dtype, optional
        Precision of matrix products and convolutions, where not the model's own.
    evaluator : Evaluator
        Who evaluates; by default the model is run through Pyro every time.
    """

    model: Model
    data: ExampleData
    layout: Layout
    beta: Tensor | None = None
    autocast: torch.dtype | None = None
    evaluator: Evaluator = field(default=PLAIN, repr=False)

    @property
    def num_examples(self) -> int:
        """Number of examples, n."""
        return self.data.num_examples

    @property
    def latent_dim(self) -> int:
        """Number of unconstrained latent components of one example, d."""
        return self.layout.latent_dim

    def __call__(
        self, position: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Return energies (n,) and their gradients (n, d), both detached.

        Where a factorisation fails, which ends a whole batch, the energies of its rows are
        infinite, so that only their proposals are rejected.
        """
        if torch.is_inference_mode_enabled():
            return with_gradients(self)(position)
        energy, gradient = self._evaluated(ENERGY, position)
        return energy, gradient

    def energy(self, position: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the energies (n,), differentiable in the position and in θ."""
        density = self.density(position)
        return -(density.prior + self._weighted(density.likelihood))

    def parts(self, position: Float[Tensor, "n d"]) -> Parts:
        """Return the energies of the prior and of the likelihood and their gradients, detached."""
        prior, likelihood, *gradients = self._evaluated(PARTS, position)
        return Parts(prior, gradients[0], likelihood, gradients[1])

    def _evaluated(self, task: Task, position: Float[Tensor, "n d"]) -> tuple[Tensor, ...]:
        try:
            return self.evaluator(task, self, position)
        except LinAlgError:
            return self.plain()._with_failures(task, position)

    def _with_failures(self, task: Task, position: Float[Tensor, "n d"]) -> tuple[Tensor, ...]:
        """Evaluate what fails as a whole; rows that fail have an infinite energy, no slope."""
        n = len(position)
        try:
            with FailedFactorsAreNaN():
                values = self.evaluator(task, self, position)
        except LinAlgError:
            if n > 1:
                halves = torch.arange(n, device=position.device).split((n + 1) // 2)
                parts = [self.rows(half)._with_failures(task, position[half]) for half in halves]
                return tuple(torch.cat(whole) for whole in zip(*parts, strict=True))
            number = 1 if task is ENERGY else 2
            nan = torch.full_like(position, torch.nan)
            values = (nan[:, 0],) * number + (nan,) * number
        energies, slopes = values[: len(values) // 2], values[len(values) // 2 :]
        failed = torch.stack(energies).isnan().any(0)
        return (
            *(energy.masked_fill(failed, torch.inf) for energy in energies),
            *(slope.masked_fill(failed[:, None], 0.0) for slope in slopes),
        )

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

        def function(potential: Potential, position: Tensor) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                loss = potential.loss(position)
                gradients = torch.autograd.grad(loss, parameters)
            return loss.detach(), *gradients

        task = Task(("loss", *map(Identity, parameters)), function, _loss)
        loss, *gradients = self.evaluator(task, self, position)
        return loss, gradients

    def log_likelihood(self, position: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return ``log p(y | z)`` of each example, in nats, detached; it is given z."""
        with torch.no_grad():
            likelihood: Tensor = self.density(position).likelihood
        return likelihood

    def log_likelihoods(self, position: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, " n"]]:
        """Return the terms of :meth:`log_likelihood` by observed site."""
        with torch.no_grad():
            return dict(self.density(position).by_site)

    def density(self, position: Float[Tensor, "n d"]) -> LogDensity:
        """Run the model at a position and return what its sites' densities are.

        Raises
        ------
        ValueError
            If the position has another shape than (n, d).
        """
        if position.shape != (self.num_examples, self.latent_dim):
            raise ValueError(
                f"position must have shape {(self.num_examples, self.latent_dim)}, got "
                f"{tuple(position.shape)}"
            )
        if self.autocast is None:
            return self._density(position)
        # Casts of weights that are kept would be kept from one capture to the next.
        with torch.autocast(position.device.type, self.autocast, cache_enabled=False):
            return self._density(position)

    def _density(self, position: Float[Tensor, "n d"]) -> LogDensity:
        if self.layout.is_joint:
            return density_of(self.model, self.data, self.layout, position)
        return log_density(self.model, self.data, self.layout, position)

    def _weighted(self, of_likelihood: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return of_likelihood if self.beta is None else self.beta * of_likelihood

    def plain(self) -> "Potential":
        """Return the same potential, its model run through Pyro at every evaluation."""
        return dataclasses.replace(self, evaluator=PLAIN)

    def on(self, data: ExampleData) -> "Potential":
        """Return the potential of other examples of the same model."""
        return dataclasses.replace(self, data=data)

    def cast(self, autocast: torch.dtype | None) -> "Potential":
        """Return the potential with matrix products and convolutions in another precision."""
        return dataclasses.replace(self, autocast=autocast)

    def tempered(self, beta: Float[Tensor, " n"]) -> "Potential":
        """Return the potential with the likelihood alone raised to the power ``beta`` (n,)."""
        if beta.shape != (self.num_examples,):
            raise ValueError(
                f"beta must have shape ({self.num_examples},), got {tuple(beta.shape)}"
            )
        return dataclasses.replace(self, beta=beta)

    def rows(self, index: Int64[Tensor, " k"] | slice) -> "Potential":
        """Return the potential of some of the examples, in the order of ``index``."""
        beta = None if self.beta is None else self.beta[index]
        return dataclasses.replace(self, data=self.data.select(index), beta=beta)

    def leading(self, order: Int64[Tensor, " n"], size: int) -> "Potential":
        """Return the potential of the first ``size`` examples of an order."""
        key = order.cpu().numpy().tobytes()
        kept = self.evaluator.kept
        data = kept(self.data, "ordered", key, lambda: self.data.select(order))
        first = kept(data, f"first {size}", None, lambda: data.select(slice(size)))
        beta = None if self.beta is None else self.beta[order[:size]]
        return dataclasses.replace(self, data=first, beta=beta)

    def repeated(self, times: int) -> "Potential":
        """Return the potential of all examples ``times`` times over."""
        data = self.evaluator.kept(
            self.data, f"times {times}", None, lambda: self.data.repeat(times)
        )
        beta = None if self.beta is None else self.beta.repeat(times)
        return dataclasses.replace(self, data=data, beta=beta)

    def metric(self, position: Float[Tensor, "n d"]) -> Float[Tensor, "n d d"]:
        """Return the prior's curvature plus ``JᵀFJ``, F the Fisher information of the data.

        The prior's curvature is its negative Hessian with negative eigenvalues set to zero.

        References
        ----------
        Girolami & Calderhead, "Riemann manifold Langevin and Hamiltonian Monte Carlo" (2011),
        section 4.
        """
        prior, fisher = curvature(self, position)
        return positive_part(prior) + fisher

    def metric_diag(self, position: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return the diagonals of both parts of the metric, the prior's cut off at zero.

        Where the prior's curvature has no negative eigenvalue that is the metric's diagonal.
        """
        prior, fisher = curvature(self, position)
        return (prior.diagonal(dim1=1, dim2=2).clamp(min=0.0)) + fisher.diagonal(dim1=1, dim2=2)

    def flatten(self, latents: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        """Return the flat unconstrained position of constrained latents by site name, (n, ...)."""
        missing = {site.name for site in self.layout.sites} ^ set(latents)
        if missing:
            raise ValueError(
                f"latents must be given for the sites {[s.name for s in self.layout.sites]}, got "
                f"{sorted(latents)}"
            )

        found = self._substituted(latents, lambda handler: handler.unconstrained)
        parts = [found[site.name] for site in self.layout.sites]
        return torch.cat([part.reshape(self.num_examples, -1) for part in parts], 1)

    def unflatten(self, position: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """Return the constrained latents by site name, (n, ...).

        Where every latent is real they are views of the position, which then may have any number
        of rows.
        """
        if all(site.is_real for site in self.layout.sites):
            return {
                site.name: position[:, site.start : site.stop].reshape(-1, *site.shape)
                for site in self.layout.sites
            }
        with torch.no_grad():
            return self.density(position).values

    def predict(self, position: Float[Tensor, "n d"], seed: int) -> dict[str, Tensor]:
        """Return one draw of each observed site given the latents, missing cells included."""
        latents = self.unflatten(position)
        with seeded(seed):
            return self._substituted(latents, lambda handler: handler.predicted, predict=True)

    def deterministic(self, position: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """Return what deterministic sites, reparameterised latents among them, are: (n, ...)."""
        latents, names = self.unflatten(position), self.layout.deterministic
        with seeded(0):
            return self._substituted(
                latents, lambda handler: handler.deterministic, deterministic=names
            )

    def _substituted(
        self,
        latents: Mapping[str, Tensor],
        kept: Callable[[Substitute], dict[str, Tensor]],
        **of_handler: Any,
    ) -> dict[str, Tensor]:
        """Run the model at constrained latents, (n, ...), and return what the handler keeps."""

        def at(values: dict[str, Tensor]) -> dict[str, Tensor]:
            handler = Substitute(values, **of_handler)
            run(self.model, self.data, handler)
            return kept(handler)

        with torch.no_grad():
            if self.layout.is_joint:
                return tried_over_chains(at, dict(latents), self.layout.is_batched)
            return at(dict(latents))

    def draw_prior(self, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return one draw of all latents from the prior and of the observed sites given it.

        Deterministic sites are among the latents.
        """
        observed = Substitute({}, predict=True, deterministic=self.layout.deterministic)
        record = Record()
        with torch.no_grad(), seeded(seed), record:
            run(self.model, self.data, observed)
        names = {site.name for site in self.layout.sites}
        drawn = {site["name"]: site["value"] for site in record.sites if site["name"] in names}
        found = {**drawn, **observed.deterministic}
        if self.layout.is_joint:
            return _one_example(found), _one_example(observed.predicted)
        return found, observed.predicted


def _one_example(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[None] for name, value in values.items()}


def _energy_and_gradient(potential: Potential, position: Tensor) -> tuple[Tensor, ...]:
    position = position.detach().requires_grad_()
    with torch.enable_grad():
        energy = potential.energy(position)
        (gradient,) = torch.autograd.grad(energy.sum(), position)
    return energy.detach(), gradient


def _energy(potential: Potential, position: Tensor) -> tuple[Tensor, ...]:
    return (potential.energy(position),)


def _loss(potential: Potential, position: Tensor) -> tuple[Tensor, ...]:
    return (potential.loss(position),)


def _part_energies(potential: Potential, position: Tensor) -> tuple[Tensor, ...]:
    density = potential.density(position)
    likelihood = density.likelihood
    return -density.prior, -(likelihood if potential.beta is None else potential.beta * likelihood)


def _parts(potential: Potential, position: Tensor) -> tuple[Tensor, ...]:
    position = position.detach().requires_grad_()
    with torch.enable_grad():
        energies = _part_energies(potential, position)
        gradients = []
        for energy in energies:
            gradient = torch.zeros_like(position)
            if energy.requires_grad:
                (gradient,) = torch.autograd.grad(
                    energy.sum(), position, retain_graph=True, materialize_grads=True
                )
            gradients.append(gradient)
    return *(energy.detach() for energy in energies), *gradients


ENERGY = Task("energy", _energy_and_gradient, _energy)
"""Energies and their gradients."""

PARTS = Task("parts", _parts, _part_energies)
"""The energies of :class:`Parts`, then their gradients."""


def validate(model: Model, data: ExampleData) -> None:
    """Let a model that has a ``validate_data`` check what it is given, before work starts."""
    check = getattr(model, "validate_data", None)
    if callable(check):
        check(*data.args, **data.kwargs)


def is_joint(potential: Potential | None) -> bool:
    """Return whether a potential is known to be of a whole model as one example."""
    return potential is not None and potential.layout.is_joint


def dtype_and_device(model: Model) -> tuple[torch.dtype, torch.device | None]:
    """Return what a model computes in: its first floating-point parameter's, or torch's default.

    The device is None where nothing of the model has one: then it is where the data are.
    """
    # A method of a module is a model too.
    module = getattr(model, "__self__", model)
    if not isinstance(module, torch.nn.Module):
        return torch.get_default_dtype(), None
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.dtype, parameter.device
    return torch.get_default_dtype(), next((b.device for b in module.buffers()), None)
