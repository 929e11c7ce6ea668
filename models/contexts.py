"""Data and contexts for several rows of latents of each example, and what of them was read."""

import pyro.distributions as dist
import torch
from torch import Size, Tensor

from .data_checks import as_floating, check_context, check_no_nan, check_values
from .observations import Observation
from .pieces import Context, Read


def repeated(value: Tensor, times: int) -> Tensor:
    """Return rows several times, one whole copy after the other."""
    return value.repeat(times, *[1] * (value.dim() - 1))


def for_latents(name: str, value: Tensor, leading: Size) -> Tensor:
    """Return values of n examples for each row of latents (..., n).

    Raises
    ------
    ValueError
        If the values are not those of n examples.
    """
    if value.shape[:1] != leading[-1:]:
        raise ValueError(
            f"{name} must have the example as its first dimension, of size {leading[-1]} as the "
            f"latents, got shape {tuple(value.shape)}"
        )
    return repeated(value, leading[:-1].numel())


def read_for_latents(
    context: Context | None, leading: Size, like: Tensor | None = None
) -> Read | None:
    """Return a context for latents (..., n) that keeps what is read of it.

    Parameters
    ----------
    context : mapping of Tensor, optional
        Of n examples.
    leading : Size
        The latents' leading dimensions.
    like : Tensor, optional
        On whose device and, of floating-point numbers, in whose dtype it is returned.
    """
    if context is None:
        return None
    read = {}
    for key, value in check_context(context).items():
        if like is not None:
            value = value.to(like.device, like.dtype if value.is_floating_point() else None)
        read[key] = for_latents(f"context[{key!r}]", value, leading)
    return Read(read)


def data_for_latents(
    observation: Observation,
    made: dist.TorchDistribution,
    name: str,
    y: Tensor,
    mask: Tensor | None,
    leading: Size,
    like: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Return data as the observation prepares them, and what is observed, for latents (..., n).

    Parameters
    ----------
    observation, made
        Of the data, and what it gives for one example.
    name : str
        What the data are called.
    y, mask : Tensor
        Of n examples.
    leading : Size
        The latents' leading dimensions.
    like : Tensor
        On whose device and in whose dtype they are returned.
    """
    y = as_floating(torch.as_tensor(y)).to(like)
    mask = None if mask is None else torch.as_tensor(mask, device=like.device)
    filled, known = observation.prepare(y, mask)
    if known is None:
        check_no_nan(observation, y)
    check_values(observation, made, filled, known)
    filled = for_latents(name, filled, leading)
    return filled, None if known is None else for_latents("mask", known, leading)


def check_read(read: Read | None) -> None:
    """Raise ValueError for keys that no piece has asked for."""
    if read is not None and read.unread:
        raise ValueError(
            f"context holds {read.unread}, which no piece of the model reads: prior and "
            f"observation read {sorted(read.asked) or 'none'}"
        )
