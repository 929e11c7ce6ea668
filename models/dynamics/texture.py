"""Dynamic textures by singular value decomposition: the closed-form baseline."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .linear_dynamics import LinearDynamics, least_squares


class DynamicTexture(NamedTuple):
    """A linear dynamical system ``y_t = mean + z_t · basis``, ``z_t = A z_{t-1} + Q^{1/2} ε``.

    Attributes
    ----------
    mean : Tensor, (...)
        The mean frame.
    basis : Tensor, (d, ...)
        Orthonormal frames.
    states : Tensor, (T, d)
        Of the frames that it was fitted to.
    dynamics : LinearDynamics
        (A, Q) of the states.
    """

    mean: Tensor
    basis: Tensor
    states: Tensor
    dynamics: LinearDynamics

    def decode(self, states: Tensor) -> Tensor:
        """Return the frames (..., *frame) of states (..., d)."""
        frames: Tensor = self.mean + torch.tensordot(states, self.basis, 1)
        return frames

    def forecast(self, num_frames: int) -> Tensor:
        """Return the mean of the frames that follow, (num_frames, ...)."""
        state, ahead = self.states[-1], []
        for _ in range(num_frames):
            state = self.dynamics.transition @ state
            ahead.append(state)
        return self.decode(torch.stack(ahead))


def dynamic_texture(
    frames: Tensor, dim: int, estimator: Callable[[Tensor], LinearDynamics] = least_squares
) -> DynamicTexture:
    """Return Doretto's linear dynamical system of a video, in closed form.

    Parameters
    ----------
    frames : Tensor
        (T, ...), complete.
    dim : int
        Components of a state, d, at most T.
    estimator : callable, default least_squares
        From states (T, d) to their dynamics; :func:`yule_walker` gives stable ones.

    Returns
    -------
    DynamicTexture

    Raises
    ------
    ValueError
        If ``dim`` does not lie between 1 and T, or a value is not finite.

    References
    ----------
    Doretto, Chiuso, Wu & Soatto, "Dynamic textures" (IJCV 2003), section 4.
    """
    if not 1 <= dim <= len(frames):
        raise ValueError(
            f"dim must lie between 1 and the number of frames, {len(frames)}, got {dim}"
        )
    if not bool(frames.isfinite().all()):
        raise ValueError(
            "frames must be finite: this closed form has no missing cells; fill them first, or "
            "learn a VAR prior under Masked"
        )
    mean = frames.mean(0)
    left, sizes, right = torch.linalg.svd((frames - mean).flatten(1), full_matrices=False)
    states = left[:, :dim] * sizes[:dim]
    return DynamicTexture(
        mean, right[:dim].reshape(dim, *frames.shape[1:]), states, estimator(states)
    )
