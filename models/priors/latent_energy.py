"""An energy-based prior: a learned correction of the standard normal."""

import math
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ..arguments import check_count
from ..pieces import Entry
from .base import Prior
from .short_run import PriorKernel, ShortRunLangevin


class LatentEnergy(Prior):
    """``p(z) = exp(-E_α(z)) N(z; 0, I) / Z(α)``, with the energy a network that is learned.

    Its density is known up to the constant Z, which chains do not need; the step of α does, and
    gets its gradient from draws of the prior's own short chains: down at the posterior's latents,
    up at the prior's. Each of them starts afresh from N(0, I).

    Parameters
    ----------
    dim : int
        Number of latent components d, at least 1.
    energy : nn.Module
        E, from (n, d) to (n, 1) or (n,), each row by itself, such as
        ``mlp(dim, 1, hidden=(200, 200), activation=torch.nn.GELU)``. In nats.
    kernel : optional
        Moves the prior's chains: any object with ``init(position, potential)`` and
        ``step(state, potential, generator)``, with a fixed step size, such as
        ``explainaway.inference.MALA(step_size=0.5)``. By default the paper's plain Langevin with a
        step size of 0.4, which is not corrected.
    num_steps : int, default 60
        Steps of each chain, the paper's.

    Raises
    ------
    ValueError
        If ``dim`` or ``num_steps`` is not a positive integer, the energy's shape is another, or
        the kernel's step size is "auto", which nothing would adapt.
    TypeError
        If ``energy`` is not an ``nn.Module`` or ``kernel`` lacks ``init`` or ``step``.

    Notes
    -----
    The chains have to come to rest in ``num_steps``. Where they do not, with modes that they cannot
    cross between, the learned energy is one under which the short run has the distribution of the
    latents, and its density does not: samples are right and ``log_prob`` is too steep.

    References
    ----------
    Pang, Han, Nijkamp, Zhu & Wu, "Learning Latent Space Energy-Based Prior Model" (2020): eq. 2
    for the density, section 2 for the learning.

    Examples
    --------
    >>> from explainaway.models import LatentEnergy, mlp
    >>> prior = LatentEnergy(2, energy=mlp(2, 1, hidden=(16,)), num_steps=20)
    >>> prior.distribution().sample((5,)).shape
    torch.Size([5, 2])
    """

    entry = Entry(
        "p(z) ∝ exp(-E(z)) N(z; 0, I), E learned",
        "Pang et al. (2020), eq. 2",
        "LatentEnergy(3, mlp(3, 1, hidden=(8,), activation=torch.nn.GELU), num_steps=10)",
    )

    loc: Tensor

    def __init__(
        self,
        dim: int,
        energy: nn.Module,
        kernel: PriorKernel | None = None,
        num_steps: int = 60,
    ) -> None:
        super().__init__()
        check_count("dim", dim)
        check_count("num_steps", num_steps)
        if not isinstance(energy, nn.Module):
            raise TypeError(f"energy must be an nn.Module, got {energy!r}")
        kernel = ShortRunLangevin() if kernel is None else kernel
        if not callable(getattr(kernel, "init", None)) or not callable(
            getattr(kernel, "step", None)
        ):
            raise TypeError(f"kernel must have methods init and step, got {kernel!r}")
        if getattr(kernel, "step_size", None) == "auto":
            raise ValueError(
                f"kernel must have a number as its step_size, got {kernel!r}: nothing adapts it in "
                "the prior's short chains"
            )
        self.energy = energy
        self.kernel = kernel
        self.num_steps = num_steps
        like = next(energy.parameters(), torch.empty(0))
        self.register_buffer("loc", torch.zeros(dim, dtype=like.dtype, device=like.device))
        with torch.no_grad():
            shape = energy(self.loc.expand(2, dim)).shape
        if shape not in ((2,), (2, 1)):
            raise ValueError(
                f"energy must give one number for each row, shape (n, 1) or (n,), got "
                f"{tuple(shape)} for 2 rows of {dim} components"
            )

    def distribution(self) -> dist.TorchDistribution:
        """Return the distribution of one example's latent, event shape (d,).

        Its ``log_prob`` leaves out -log Z; ``sample`` runs a short chain, from torch's random
        state.
        """
        return _Tilted(self)

    def log_density(self, latents: Tensor) -> Tensor:
        """Return ``-E(z) + log N(z; 0, I)`` in nats, (..., d) -> (...): up to -log Z."""
        rows = latents.reshape(-1, latents.shape[-1])
        # Under autocast the network computes in lower precision; energies are added in full.
        energy: Tensor = self.energy(rows).to(latents.dtype).reshape(latents.shape[:-1])
        constant = 0.5 * math.log(2 * math.pi) * latents.shape[-1]
        return -energy - 0.5 * (latents**2).sum(-1) - constant

    def draw(self, num_draws: int, seed: int) -> Tensor:
        """Return where as many chains from N(0, I) are after ``num_steps``, (n, d), detached.

        Raises
        ------
        RuntimeError
            If a chain has diverged.
        """
        generator = torch.Generator(self.loc.device).manual_seed(seed)
        start = torch.randn(
            num_draws,
            *self.loc.shape,
            generator=generator,
            dtype=self.loc.dtype,
            device=self.loc.device,
        )
        state = self.kernel.init(start, self._potential)
        for _ in range(self.num_steps):
            state, _ = self.kernel.step(state, self._potential, generator)
        position: Tensor = state.position.detach()
        if not bool(position.isfinite().all()):
            raise RuntimeError(
                f"a chain of the prior's {self.kernel!r} has diverged: give LatentEnergy a kernel "
                "with a smaller step_size, or one that is Metropolis-adjusted, such as MALA"
            )
        return position

    def log_normaliser(self, num_draws: int, seed: int) -> Tensor:
        """Return the mean log density at draws of the prior: its gradient in α is that of log Z."""
        return self.log_density(self.draw(num_draws, seed)).mean()

    def _potential(self, position: Tensor) -> tuple[Tensor, Tensor]:
        position = position.detach().requires_grad_()
        with torch.enable_grad():
            energy = -self.log_density(position)
            (gradient,) = torch.autograd.grad(energy.sum(), position)
        return energy.detach(), gradient


class _Tilted(dist.TorchDistribution):
    """A :class:`LatentEnergy` as a distribution; its density is not normalised."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector

    def __init__(self, prior: LatentEnergy, batch_shape: Any = ()) -> None:
        self.prior = prior
        super().__init__(torch.Size(batch_shape), prior.loc.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Tilted":
        return _Tilted(self.prior, batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        density = self.prior.log_density(value)
        return density.expand(torch.broadcast_shapes(density.shape, self.batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        seed = int(torch.randint(2**62, ()))
        return self.prior.draw(shape[:-1].numel(), seed).reshape(shape)
