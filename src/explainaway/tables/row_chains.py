"""Chains of rows' latents."""

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
"""From a draw of the prior to the posterior."""

STEPS = 16
"""From one draw of a chain to the next."""

MOST_VISITS = 20
"""Draws of one chain."""


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
    model: GeneratorModel,
    information: Tensor,
    y: Tensor,
    context: dict[str, Tensor] | None,
    ids: NDArray[np.int64],
    num_draws: int,
    seed: int,
) -> Tensor:
    """Return draws of rows' latents given their observed cells, (num_draws, n, d).

    They come of a few long chains, and not of many that have all to start. A row's draws do not
    depend on the others' but on its number, ``ids``.
    """
    visits = min(num_draws, MOST_VISITS)
    num_chains = -(-num_draws // visits)
    source = KeyedSource.of_chains(seed, torch.as_tensor(ids), num_chains)
    repeated = context and {key: value.repeat(num_chains, 1) for key, value in context.items()}
    network = model.network
    assert isinstance(network, LinearPlusMLP)
    like = y.new_empty(num_chains * len(y), network.latent_dim)
    chains = RowChains(y.repeat(num_chains, 1), repeated, standard_normal(source.at(0), like))
    step = 1
    for _ in range(FIRST_STEPS // 2):
        chains.move(model, information, [source.at(step), source.at(step + 1)], adapt=0.3)
        step += 2
    found = []
    for _ in range(visits):
        chains.move(model, information, [source.at(step + k) for k in range(STEPS)])
        step += STEPS
        found.append(chains.position.reshape(num_chains, len(y), -1))
    return torch.cat(found)[:num_draws]
