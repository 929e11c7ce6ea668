"""New frames from dynamics that were fitted to latents: the paper's second stage."""

import torch
from torch import Tensor

from ..generator_model import GeneratorModel
from .linear_dynamics import LinearDynamics


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
    # On the CPU, so that a seed gives the same frames on every device.
    generator = torch.Generator().manual_seed(int(seed))
    shape = burn_in + num_frames, len(transition)
    noise = torch.randn(shape, generator=generator, dtype=transition.dtype).to(transition)
    states = [noise[0]]
    for innovated in noise[1:] @ scale.mT:
        states.append(transition @ states[-1] + innovated)
    return model.decode(torch.stack(states[burn_in:]))
