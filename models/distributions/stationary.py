"""Stable linear transitions and the covariance of their states in the long run."""

import torch
from torch import Tensor


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
    >>> from explainaway.models.dynamics import stationary_covariance
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
