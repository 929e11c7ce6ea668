"""Chains of rows' latents while a table's weights change."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inference.noise.keyed import Generator, KeyedSource, standard_normal, uniform
from ..models import GeneratorModel
from .densities import cells_seen, column_log_densities
from .table_model import LinearPlusMLP

TARGET_ACCEPTANCE = 0.7
FIRST_STEPS = 80
"""From the mean of the prior to the posterior under the first weights."""

STEPS = 16
"""From the posterior under some weights to that under others, or to another draw."""


def unwhitened(factor: Tensor, noise: Tensor) -> Tensor:
    """Return L^(-T) times noise (n, d), of precision L Lᵀ, for factors L (n, d, d)."""
    found: Tensor = torch.linalg.solve_triangular(factor.mT, noise[..., None], upper=True)
    return found[..., 0]


class Metric:
    """What rows' posteriors look like were the network linear: ``I + Wᵀ diag(information) W``.

    Parameters
    ----------
    network : LinearPlusMLP
        W is its mean slope over the prior.
    information : Tensor, (outputs,)
        Fisher information of an observed cell on each output.
    seen : Tensor, (n, outputs)
        1 where an output belongs to a cell of which something is known, else 0.
    """

    def __init__(self, network: LinearPlusMLP, information: Tensor, seen: Tensor) -> None:
        slope = network.mean_slope
        latent_dim = slope.shape[1]
        squares = (slope[:, :, None] * slope[:, None, :]).flatten(1)
        # Small noise makes directions differ by more than single precision holds.
        precision = (seen * information).double() @ squares.double()
        identity = torch.eye(latent_dim, dtype=torch.float64)
        factor = torch.linalg.cholesky(precision.unflatten(1, (-1, latent_dim)) + identity)
        self.factor = factor.to(slope.dtype)

    def natural(self, gradient: Tensor) -> Tensor:
        """Return G⁻¹ times gradients, (n, d)."""
        found: Tensor = torch.cholesky_solve(gradient[..., None], self.factor)[..., 0]
        return found

    def unwhitened(self, noise: Tensor) -> Tensor:
        """Return G^(-1/2) times noise, (n, d)."""
        return unwhitened(self.factor, noise)

    def whitened(self, position: Tensor) -> Tensor:
        """Return G^(1/2) times positions, (n, d)."""
        found: Tensor = (self.factor.mT @ position[..., None])[..., 0]
        return found


class RowChains:
    """A chain for each row, by semi-implicit Langevin proposals, accepted or rejected.

    ``z' = z - (1 - √(1 - s²)) G⁻¹∇E(z) + s G^(-1/2) ξ``, G the metric that a linear network would
    have: of a linear network with Gaussian noise a step of s = 1 is an independent draw. Every
    other proposal is a draw of the prior, which may lie in another mode: where little of a row is
    known it is accepted often, and where much is known there is one mode.
    (:class:`~explainaway.inference.RiemannianMALA` has G at every position, for a gradient of each
    latent; here it is computed once for given weights.)

    Parameters
    ----------
    y : Tensor, (n, columns of the model)
        Cells, NaN where hidden.
    context : dict of Tensor, optional
        Limits of cells.
    position : Tensor, (n, d)
        Where the chains start.

    References
    ----------
    Cotter, Roberts, Stuart & White, "MCMC methods for functions" (2013).
    """

    def __init__(self, y: Tensor, context: dict[str, Tensor] | None, position: Tensor) -> None:
        self.y, self.context, self.position = y, context, position
        self.step_size = torch.full_like(position[:, 0], 0.9)

    def move(
        self,
        model: GeneratorModel,
        information: Tensor,
        noise: Sequence[Generator],
        adapt: float = 0.0,
    ) -> None:
        """Make a step for each source of noise, under the weights of a model.

        Parameters
        ----------
        information : Tensor, (outputs,)
            Fisher information of a cell on each output.
        adapt : float
            Gain with which each row's step size follows its acceptance.
        """
        network = model.network
        assert isinstance(network, LinearPlusMLP)
        metric = Metric(network, information, cells_seen(model, self.y, self.context))
        energy, natural = self._energy(model, metric, self.position)
        for number, source in enumerate(noise):
            xi = standard_normal(source, self.position)
            local = number % 2 == 0
            if local:
                s = self.step_size[:, None]
                drift = 1 - (1 - s**2).sqrt()
                proposal = self.position - drift * natural + s * metric.unwhitened(xi)
            else:
                proposal = xi
            new_energy, new_natural = self._energy(model, metric, proposal)
            error = new_energy - energy
            if local:
                back = metric.whitened(self.position - proposal + drift * new_natural) / s
                error += 0.5 * ((back**2).sum(1) - (xi**2).sum(1))
            else:
                error += 0.5 * ((self.position**2).sum(1) - (xi**2).sum(1))
            rate = error.nan_to_num(nan=torch.inf).clamp(min=0).neg().exp()
            accepted = uniform(source, rate) < rate
            self.position = torch.where(accepted[:, None], proposal, self.position)
            natural = torch.where(accepted[:, None], new_natural, natural)
            energy = torch.where(accepted, new_energy, energy)
            if adapt and local:
                gain = (adapt * (rate - TARGET_ACCEPTANCE)).exp()
                self.step_size = (self.step_size * gain).clamp(0.02, 1.0)

    def _energy(
        self, model: GeneratorModel, metric: Metric, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return energies (n,) and natural gradients (n, d)."""
        z = position.detach().requires_grad_()
        with torch.enable_grad():
            columns = column_log_densities(model, model.network(z), self.y, self.context)
            energy = 0.5 * (z**2).sum(1) - columns.sum(1)
            (gradient,) = torch.autograd.grad(energy.sum(), z)
        return energy.detach(), metric.natural(gradient)


def latent_draws(
    models: Sequence[GeneratorModel],
    information: Sequence[Tensor],
    y: Tensor,
    context: dict[str, Tensor] | None,
    ids: NDArray[np.int64],
    num_draws: int,
    seed: int,
) -> list[Tensor]:
    """Return draws of rows' latents given their observed cells under each of some weights.

    Each draw is the end of a chain of its own that has gone through the weights of all models in
    turn. A row's draws do not depend on the others' but on its number, ``ids``.

    Returns
    -------
    list of Tensor, (num_draws, n, d)
        For each model.
    """
    source = KeyedSource.of_chains(seed, torch.as_tensor(ids), num_draws)
    repeated = context and {key: value.repeat(num_draws, 1) for key, value in context.items()}
    # The latents of a linear model and of the network mean different things.
    of_kind: dict[bool, RowChains] = {}
    found, step = [], 0
    for model, each in zip(models, information, strict=True):
        network = model.network
        assert isinstance(network, LinearPlusMLP)
        if network.is_linear not in of_kind:
            like = y.new_empty(num_draws * len(y), network.latent_dim)
            start = standard_normal(source.at(step), like)
            chains = RowChains(y.repeat(num_draws, 1), repeated, start)
            of_kind[network.is_linear] = chains
            step += 1
            for _ in range(FIRST_STEPS // 2):
                chains.move(model, each, [source.at(step), source.at(step + 1)], adapt=0.3)
                step += 2
        chains = of_kind[network.is_linear]
        chains.move(model, each, [source.at(step + k) for k in range(STEPS)])
        step += STEPS
        found.append(chains.position.reshape(num_draws, len(y), -1))
    return found
