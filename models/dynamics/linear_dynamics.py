"""Linear dynamics ``z_t = A z_{t-1} + Q^{1/2} ε``: what they imply, and fits to latent sequences.

Two-stage learning is the paper's: learn frames as independent examples, fit (A, Q) to their
latents, put a :class:`VAR` prior of these above the same network. It takes each frame's noisy
latent for the true one, so A comes out too small where frames are incomplete; joint learning, a
:class:`VAR` prior with ``learn=True`` from the start, does not.
"""

from typing import NamedTuple

import torch
from torch import Tensor


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


def least_squares(latents: Tensor, prior_states: float = 0.0) -> LinearDynamics:
    """Return the (A, Q) that predict each latent best from the one before, in squared error.

    The maximum likelihood given the first latent of each sequence. A may come out unstable.

    Parameters
    ----------
    latents : Tensor
        (..., T, d): any number of sequences with mean zero, such as several draws of several
        examples.
    prior_states : float, default 0
        Draws A towards zero (ridge regression), as so many more pairs of neighbours would of which
        the first has the latents' covariance and the second does not follow from it. Forecasts of
        d components from few latents are better for it; :class:`VAR` takes the same number.

    Returns
    -------
    LinearDynamics

    Raises
    ------
    ValueError
        If ``prior_states`` is negative, or there are fewer than 2 d pairs of neighbours, too few
        for a regular Q.

    References
    ----------
    Han et al. (2017), Experiment 4; Doretto, Chiuso, Wu & Soatto, "Dynamic textures" (2003).
    """
    sequences = _sequences(latents)
    before, after = sequences[:, :-1].flatten(0, 1), sequences[:, 1:].flatten(0, 1)
    if not prior_states >= 0:
        raise ValueError(f"prior_states must not be negative, got {prior_states}")
    states = sequences.flatten(0, 1)
    # Rows that are added: a root of the prior's share of the latents' covariance, followed by zero.
    root = torch.linalg.qr(states).R * (prior_states / len(states)) ** 0.5
    before, after = torch.cat([before, root]), torch.cat([after, torch.zeros_like(root)])
    transition = torch.linalg.lstsq(before, after).solution.mT
    residual = after - before @ transition.mT
    return LinearDynamics(transition, residual.mT @ residual / (len(residual) - len(root)))


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
