"""What comes next: future latents and frames, with their posterior spread."""

from typing import NamedTuple

import pyro
import torch
from torch import Tensor

from ..arguments import check_count, seeded_draws
from ..contexts import read_for_latents
from ..generator_model import GeneratorModel
from ..networks.modes import evaluating
from ..pieces import Context
from ..priors.sequence import SequencePrior


class Forecast(NamedTuple):
    """Draws of the future.

    Attributes
    ----------
    latents : Tensor, (..., n, num_frames, d)
        Future latents, one sequence for each given one.
    frames : Tensor, (..., n, num_frames, ...)
        The signal that they decode to, or, with noise, data.
    """

    latents: Tensor
    frames: Tensor


@torch.no_grad()
def forecast(
    model: GeneratorModel,
    latents: Tensor,
    num_frames: int,
    seed: int,
    context: Context | None = None,
    noise: bool = False,
) -> Forecast:
    """Continue sequences: from each draw of their latents one draw of the future.

    With posterior draws of the latents the frames are draws of ``p(signal ahead | y)``: their
    mean is the forecast and their spread holds both the uncertainty of the present and the
    innovations to come. With noise they are draws of ``p(y ahead | y)``.

    Parameters
    ----------
    model : GeneratorModel
        With a prior of sequences (:class:`VAR`, :class:`Recurrent`).
    latents : Tensor
        (..., n, T, d), such as ``posterior.get_samples()["z"]``.
    num_frames : int
        How far to look ahead.
    seed : int
        Reproduces the draws; the global random state is left as it was.
    context : mapping of Tensor, optional
        As in :meth:`GeneratorModel.decode`, of the sequences to come.
    noise : bool, default False
        Draw the frames from the observation instead of returning the signal.

    Returns
    -------
    Forecast

    Raises
    ------
    TypeError
        If the prior is not one of sequences.
    ValueError
        If ``num_frames`` is not a positive integer, or the latents are not sequences of the prior.
    """
    prior = model.prior
    if not isinstance(prior, SequencePrior):
        raise TypeError(
            "model must have a prior of sequences (VAR, Recurrent) to be continued, got "
            f"{type(prior).__name__}"
        )
    check_count("num_frames", num_frames)
    ahead = GeneratorModel(prior.of_length(num_frames), model.network, model.observation)
    expected = (prior.length, prior.dim)
    if latents.dim() < 3 or latents.shape[-2:] != expected:
        raise ValueError(
            f"latents must have shape (..., n, {prior.length}, {prior.dim}), got "
            f"{tuple(latents.shape)}"
        )
    with seeded_draws(seed):
        future = prior.continued(latents, num_frames)
        # Whether the context fits is seen here.
        signal = ahead.decode(future, context)
        return Forecast(future, _drawn(ahead, future, context) if noise else signal)


def _drawn(model: GeneratorModel, latents: Tensor, context: Context | None) -> Tensor:
    """Return a draw of the data for each of some latents (..., n, T, d)."""
    rows, leading = latents.flatten(0, -3), latents.shape[:-2]
    read = read_for_latents(context, leading, rows)
    with evaluating(model.network), pyro.poutine.condition(data={"z": rows}):
        drawn: Tensor = model(context=read, num_examples=len(rows))
    return drawn.reshape(*leading, *drawn.shape[1:])
