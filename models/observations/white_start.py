"""Noise that starts white: when its covariance begins to follow the residual, and how fast."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..arguments import first_place
from .batch_weight import batch_weight

Learning = bool | Literal["closed form"]


class WhiteStart(nn.Module):
    """Count batches and say how much each weighs.

    Correlated noise that is learned from the start explains what the network should learn: at first
    all of the data are residual.

    Parameters
    ----------
    white_batches : int
        Batches that weigh nothing, 0 or more.

    Raises
    ------
    ValueError
        If it is not.
    """

    num_batches: Tensor

    def __init__(self, white_batches: int) -> None:
        super().__init__()
        if not isinstance(white_batches, int) or white_batches < 0:
            raise ValueError(f"white_batches must be an integer, 0 or more, got {white_batches!r}")
        self.white_batches = white_batches
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def next_rate(self) -> float:
        """Count a batch and return its weight in running means, 0 as long as noise stays white."""
        self.num_batches += 1
        after = self.num_batches - self.white_batches
        return float(batch_weight(after)) if int(after) > 0 else 0.0


def checked_scale(scale: float | Tensor) -> Tensor:
    """Return standard deviations as a tensor of their own, which are positive and finite.

    Raises
    ------
    ValueError
        If they are not; the message names the place.
    """
    value = torch.as_tensor(scale, dtype=torch.get_default_dtype()).detach().clone()
    wrong = ~((value > 0) & value.isfinite())
    if bool(wrong.any()):
        place = first_place(wrong)
        where = f" at {list(place)}" if place else ""
        raise ValueError(f"scale must be positive and finite, got {float(value[place]):g}{where}")
    return value


def checked_sizes(name: str, value: int | Sequence[int], smallest: int = 1) -> tuple[int, ...]:
    """Return one or several integers as a tuple.

    Raises
    ------
    ValueError
        If one of them is smaller than ``smallest``.
    """
    sizes = (value,) if isinstance(value, int) else tuple(value)
    if not sizes or not all(isinstance(size, int) and size >= smallest for size in sizes):
        raise ValueError(f"{name} must be integers, {smallest} or more, got {value!r}")
    return sizes


def check_nugget(nugget: float) -> None:
    """Raise ValueError if a smallest variance, as a share of the first one, is not a share."""
    if not 0 < nugget < 1:
        raise ValueError(f"nugget must lie between 0 and 1, got {nugget!r}")


def check_learning(name: str, value: Learning) -> None:
    """Raise ValueError if a way of learning is none of the three."""
    if value not in (True, False, "closed form"):
        raise ValueError(f'{name} must be True, False or "closed form", got {value!r}')
