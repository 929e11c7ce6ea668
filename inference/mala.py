"""The Metropolis-adjusted Langevin algorithm."""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from .kernel import (
    EnergyAndGradient,
    Info,
    StepSize,
    check_settings,
    check_start,
    choose,
    full_step_size,
    metropolis,
)
from .mass import Mass, check_mass, scaled, scaled_back, unit_scale
from .noise import Generator, standard_normal, uniform


class MALAState(NamedTuple):
    """Position with its energy and gradient, and each chain's step size and scale."""

    position: Float[Tensor, "n d"]
    energy: Float[Tensor, " n"]
    gradient: Float[Tensor, "n d"]
    step_size: Float[Tensor, " n"]
    scale: Tensor


@dataclass(frozen=True)
class MALA:
    """Langevin proposals, accepted or rejected, so that the exact posterior is left invariant.

    ``z' = z - s²/2 L Lᵀ ∇E(z) + s L ξ`` with ξ standard normal and ``L Lᵀ`` the inverse mass, the
    identity by default.

    Parameters
    ----------
    step_size : float or "auto", default "auto"
        s of the paper; ``"auto"`` adapts one for each example.
    target_acceptance : float, default 0.574
        What ``"auto"`` aims at: the optimum for many dimensions.
    mass : "identity", "diagonal", "dense" or "auto", default "identity"
        What warmup adapts to the posterior of each example; with a fixed ``step_size`` nothing is
        adapted and the mass is the identity.

    Raises
    ------
    ValueError
        If ``step_size`` is not positive, ``target_acceptance`` not in (0, 1) or ``mass`` unknown.

    References
    ----------
    Roberts & Tweedie, "Exponential convergence of Langevin distributions" (1996);
    Roberts & Rosenthal, "Optimal scaling of discrete approximations to Langevin diffusions"
    (1998).
    """

    step_size: StepSize = "auto"
    target_acceptance: float = 0.574
    mass: Mass = "identity"

    def __post_init__(self) -> None:
        check_settings(self.step_size, self.target_acceptance)
        check_mass(self.mass)

    def init(self, position: Tensor, potential: EnergyAndGradient) -> MALAState:
        """Return the state at a position."""
        energy, gradient = potential(position)
        check_start(energy, gradient)
        return MALAState(
            position,
            energy,
            gradient,
            full_step_size(self.step_size, position),
            unit_scale(position),
        )

    def step(
        self, state: MALAState, potential: EnergyAndGradient, generator: Generator
    ) -> tuple[MALAState, Info]:
        """Return the next state and what happened."""
        position, energy, gradient, step_size, scale = state
        s = step_size[:, None]
        noise = standard_normal(generator, position)
        proposal = position + s * scaled(scale, noise - 0.5 * s * scaled_back(scale, gradient))
        new_energy, new_gradient = potential(proposal)
        # The noise that would bring the proposal back, up to its sign.
        noise_back = noise - 0.5 * s * scaled_back(scale, gradient + new_gradient)
        error = new_energy - energy + 0.5 * ((noise_back**2).sum(1) - (noise**2).sum(1))
        info = metropolis(energy, error, uniform(generator, energy), num_gradients=1)
        chosen_energy = choose(info.accepted, new_energy, energy)
        return (
            MALAState(
                choose(info.accepted, proposal, position),
                chosen_energy,
                choose(info.accepted, new_gradient, gradient),
                step_size,
                scale,
            ),
            info._replace(potential_energy=chosen_energy),
        )
