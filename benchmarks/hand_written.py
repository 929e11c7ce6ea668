"""What a good engineer writes without a library: the energy of a generator, and a learning loop.

Plain torch, no Pyro: the data and the weights are at hand, the energy is one expression, autograd
gives its gradient. The same numerics as the library's defaults: MALA with a step size for each
example that goes on adapting, and Adam.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

EnergyAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]


def energy(
    network: nn.Module,
    z: Tensor,
    y: Tensor,
    scale: float,
    observed: Tensor | None,
    link: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    """Return ``-log p(y, z)`` up to a constant, (n,)."""
    signal = network(z) if link is None else link(network(z))
    squares = (y - signal) ** 2
    if observed is not None:
        squares = squares * observed
    return squares.flatten(1).sum(1) / (2 * scale**2) + 0.5 * (z**2).sum(1)


def energy_and_gradient(
    network: nn.Module,
    y: Tensor,
    scale: float,
    observed: Tensor | None = None,
    link: Callable[[Tensor], Tensor] | None = None,
    compile: bool = False,
) -> EnergyAndGradient:
    """Return a function from z to energies and gradients; parameters must not require one."""
    energies = energy
    if compile:
        energies = torch.compile(energy, dynamic=False)

    def evaluate(z: Tensor) -> tuple[Tensor, Tensor]:
        z = z.detach().requires_grad_()
        value = energies(network, z, y, scale, observed, link)
        (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    return evaluate


class Loop:
    """Alternating back-propagation in forty lines."""

    def __init__(
        self,
        network: nn.Module,
        y: Tensor,
        scale: float,
        latent_dim: int,
        steps: int,
        observed: Tensor | None = None,
        link: Callable[[Tensor], Tensor] | None = None,
        compile: bool = False,
    ) -> None:
        self.network, self.y, self.scale, self.steps = network, y, scale, steps
        self.observed, self.link = observed, link
        self.energies = torch.compile(energy, dynamic=False) if compile else energy
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        self.z = torch.randn(len(y), latent_dim)
        self.step_size = torch.full((len(y),), 0.1)
        self.time = 0

    def evaluate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies and gradients in z."""
        z = z.detach().requires_grad_()
        value = self.energies(self.network, z, self.y, self.scale, self.observed, self.link)
        (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    def iterate(self) -> Tensor:
        """Move every chain, then the weights."""
        self.network.eval()
        self.network.requires_grad_(False)
        z = self.z
        value, gradient = self.evaluate(z)
        for _ in range(self.steps):
            s = self.step_size[:, None]
            noise = torch.randn_like(z)
            proposal = z + s * (noise - 0.5 * s * gradient)
            new_value, new_gradient = self.evaluate(proposal)
            back = noise - 0.5 * s * (gradient + new_gradient)
            error = new_value - value + 0.5 * ((back**2).sum(1) - (noise**2).sum(1))
            rate = (-error).clamp(max=0).exp().nan_to_num()
            accepted = torch.rand_like(rate) < rate
            z = torch.where(accepted[:, None], proposal, z)
            value = torch.where(accepted, new_value, value)
            gradient = torch.where(accepted[:, None], new_gradient, gradient)
            gain = max(0.02, (1 + self.time) ** -0.6)
            self.step_size = self.step_size * (gain * (rate - 0.574)).exp()
            self.time += 1
        self.z = z
        self.network.requires_grad_(True)
        self.network.train()
        self.optimizer.zero_grad()
        loss = self.energies(self.network, z, self.y, self.scale, self.observed, self.link).mean()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
