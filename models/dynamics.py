"""Linear dynamics ``z_t = A z_{t-1} + Q^{1/2} ε``: what they imply, and fits to latent sequences.

Two-stage learning is the paper's: learn frames as independent examples, fit (A, Q) to their
latents, put a :class:`VAR` prior of these above the same network. It takes each frame's noisy
latent for the true one, so A comes out too small where frames are incomplete; joint learning, a
:class:`VAR` prior with ``learn=True`` from the start, does not.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .generator_model import GeneratorModel


class LinearDynamics(NamedTuple):
    """First-order vector autoregression.

    Attributes
    ----------
    transition : Tensor, (d, d)
        A: the mean of a state is A times the one before.
    innovation : Tensor, (d, d)
        Q: covariance of what is added at each step.
    """

    transition: Tensor
    innovation: Tensor


def spectral_radius(transition: Tensor) -> float:
    """Return the largest modulus of the eigenvalues of a matrix (d, d)."""
    return float(torch.linalg.eigvals(transition.detach().double()).abs().max())


def stationary_covariance(transition: Tensor, innovation: Tensor) -> Tensor:
    """Return the covariance S of the states in the long run, ``S = A S Aᵀ + Q``.

    Parameters
    ----------
    transition : Tensor, (d, d)
        A, stable: all its eigenvalues lie inside the unit circle.
    innovation : Tensor, (d, d)
        Q, symmetric.

    Returns
    -------
    Tensor
        (d, d), in double precision.

    Raises
    ------
    ValueError
        If ``transition`` is not stable; the message names the largest modulus.

    Notes
    -----
    Doubling: after k rounds ``S = Σ_{i < 2^k} A^i Q A^{iT}``, so the number of rounds grows with
    the logarithm of the memory of the process.

    References
    ----------
    Anderson, "Second-order convergent algorithms for the steady-state Riccati equation" (1978).

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import stationary_covariance
    >>> float(stationary_covariance(torch.tensor([[0.5]]), torch.tensor([[3.0]])))
    4.0
    """
    check_stable(transition)
    power, total = transition.detach().double(), innovation.detach().double()
    while True:
        added = power @ total @ power.mT
        total = total + added
        if bool(added.abs().max() <= torch.finfo(total.dtype).eps * total.abs().max()):
            return (total + total.mT) / 2
        power = power @ power


def check_stable(transition: Tensor) -> None:
    """Raise ValueError unless all eigenvalues of A lie inside the unit circle."""
    radius = spectral_radius(transition)
    if not radius < 1:
        raise ValueError(
            "transition must be stable, the largest modulus of its eigenvalues below 1, got "
            f"{radius:.6g}: such a process has no stationary start (yule_walker fits a stable one)"
        )


def least_squares(latents: Tensor) -> LinearDynamics:
    """Return the (A, Q) that predict each latent best from the one before, in squared error.

    The maximum likelihood given the first latent of each sequence. A may come out unstable.

    Parameters
    ----------
    latents : Tensor
        (..., T, d): any number of sequences with mean zero, such as several draws of several
        examples.

    Returns
    -------
    LinearDynamics

    Raises
    ------
    ValueError
        If there are fewer than 2 d pairs of neighbours, too few for a regular Q.

    References
    ----------
    Han et al. (2017), Experiment 4; Doretto, Chiuso, Wu & Soatto, "Dynamic textures" (2003).
    """
    sequences = _sequences(latents)
    before, after = sequences[:, :-1].flatten(0, 1), sequences[:, 1:].flatten(0, 1)
    transition = torch.linalg.lstsq(before, after).solution.mT
    residual = after - before @ transition.mT
    return LinearDynamics(transition, residual.mT @ residual / len(residual))


def yule_walker(latents: Tensor) -> LinearDynamics:
    """Return the (A, Q) whose first two autocovariances are those of the latents: always stable.

    Parameters
    ----------
    latents : Tensor
        As in :func:`least_squares`.

    Returns
    -------
    LinearDynamics

    Raises
    ------
    ValueError
        As :func:`least_squares`.

    Notes
    -----
    Products are summed over the pairs that a sequence has but divided by its length T. That draws
    A towards zero by a share of 1 / T, and makes the block Toeplitz matrix of the autocovariances
    positive definite and A stable with it.

    References
    ----------
    Lütkepohl, "New Introduction to Multiple Time Series Analysis" (2005), section 3.3.4.
    """
    sequences = _sequences(latents)
    count = sequences.shape[0] * sequences.shape[1]
    before, after = sequences[:, :-1].flatten(0, 1), sequences[:, 1:].flatten(0, 1)
    all_states = sequences.flatten(0, 1)
    covariance, lagged = all_states.mT @ all_states / count, after.mT @ before / count
    transition = torch.linalg.solve(covariance, lagged, left=False)
    innovation = covariance - transition @ lagged.mT
    return LinearDynamics(transition, (innovation + innovation.mT) / 2)


def _sequences(latents: Tensor) -> Tensor:
    if latents.dim() < 2:
        raise ValueError(f"latents must have shape (..., T, d), got {tuple(latents.shape)}")
    length, dim = latents.shape[-2:]
    sequences = latents.detach().reshape(-1, length, dim)
    pairs = sequences.shape[0] * (length - 1)
    if pairs < 2 * dim:
        raise ValueError(
            f"latents must hold at least {2 * dim} pairs of neighbours for {dim} components, got "
            f"{pairs} in {sequences.shape[0]} sequences of length {length}"
        )
    return sequences


@torch.no_grad()
def synthesise(
    model: GeneratorModel,
    dynamics: LinearDynamics,
    num_frames: int,
    seed: int,
    burn_in: int = 15,
) -> Tensor:
    """Return new frames as the paper does: from ``z ~ N(0, I)``, without the first ones.

    Parameters
    ----------
    model : GeneratorModel
        Of single frames, with a latent of d components.
    dynamics : LinearDynamics
        Fitted to the latents of its frames.
    num_frames : int
        How many to return.
    seed : int
        Reproduces them.
    burn_in : int, default 15
        Frames that are thrown away: the time that the states need to forget their start.

    Returns
    -------
    Tensor
        (num_frames, ...), decoded.

    Raises
    ------
    ValueError
        If ``num_frames`` is not positive or ``burn_in`` negative.

    References
    ----------
    Han et al. (2017), Experiment 4.
    """
    if num_frames < 1 or burn_in < 0:
        raise ValueError(
            f"num_frames must be at least 1 and burn_in at least 0, got {num_frames} and {burn_in}"
        )
    transition, innovation = dynamics
    scale = torch.linalg.cholesky(innovation)
    generator = torch.Generator(transition.device).manual_seed(seed)
    noise = torch.randn(
        burn_in + num_frames,
        len(transition),
        generator=generator,
        dtype=transition.dtype,
        device=transition.device,
    )
    states = [noise[0]]
    for innovated in noise[1:] @ scale.mT:
        states.append(transition @ states[-1] + innovated)
    return model.decode(torch.stack(states[burn_in:]))
