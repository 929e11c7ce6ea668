"""Whether θ wanders around an optimum or is still on its way to one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..relative_adam import as_real

GROWTH = 1.5
"""Epochs so far at a window's end, over those at its beginning."""


ENOUGH = 0.01
"""Nats per example: what is worth going on for."""


class Gain(NamedTuple):
    """By how much the loss would fall if θ went on as long again as it has gone.

    Attributes
    ----------
    nats : float
        Per example.
    error : float
        Its standard error.
    """

    nats: float
    error: float

    @property
    def is_seen(self) -> bool:
        """Whether it is more than noise, by two standard errors, and worth it."""
        return self.nats - 2 * self.error > ENOUGH


class Travel:
    """Where θ goes, and whether the loss falls on the way.

    Epochs are taken in windows, each longer than the one before. The mean of θ over one, less that
    over the window before it, is the way of θ; the gradient's component along it, in the epochs
    that follow, is what going on is worth. The noise of that gradient is not the noise that moved
    θ, so that it is zero on average where θ is only thrown about.
    """

    def __init__(self) -> None:
        self.epochs = 0
        self.begin = 0
        self.end = 2
        self.length_before = 0
        self.span = 0.0
        self.quiet = 0
        self.last: Gain | None = None
        self.slopes: list[float] = []
        self.mean: list[Tensor] = []
        self.before: list[Tensor] = []
        self.way: list[Tensor] = []
        self.slope: Tensor | None = None
        self.weight = 0

    @torch.no_grad()
    def add(self, gradients: Sequence[Tensor], weight: int) -> None:
        """Take in the loss's gradient at an iteration, of so many examples."""
        if not self.way or len(self.way) != len(gradients):
            return
        parts = [
            torch.dot(as_real(way).flatten(), as_real(gradient).flatten())
            for way, gradient in zip(self.way, gradients, strict=True)
        ]
        slope = weight * torch.stack(parts).sum()
        self.slope = slope if self.slope is None else self.slope + slope
        self.weight += weight

    @torch.no_grad()
    def end_epoch(self, parameters: Sequence[Tensor], rate_falls_slowly: bool) -> None:
        """Take in θ after an epoch."""
        if self.slope is not None:
            self.slopes.append(float(self.slope) / self.weight)
            self.slope, self.weight = None, 0
        if not rate_falls_slowly:
            return
        self.epochs += 1
        if len(self.mean) != len(parameters):
            self.mean = [p.detach().clone() for p in parameters]
        else:
            share = 1 / (self.epochs - self.begin)
            for mean, p in zip(self.mean, parameters, strict=True):
                mean.lerp_(p, share)
        if self.epochs == self.end:
            self._turn()

    def _turn(self) -> None:
        gain = self.gain()
        self.last = gain
        self.quiet = 0 if gain is None or gain.is_seen else self.quiet + 1
        length = self.end - self.begin
        if len(self.before) == len(self.mean):
            self.way = [m - b for m, b in zip(self.mean, self.before, strict=True)]
            self.span = (self.length_before + length) / 2
            self.slopes = []
        self.before, self.mean, self.length_before = self.mean, [], length
        self.begin, self.end = self.end, math.ceil(self.end * GROWTH)

    def gain(self) -> Gain | None:
        """Return what going on is worth, by the later half of the epochs since a window's end.

        Until these are two it is what was known at that end; None where nothing was.
        """
        later = self.slopes[len(self.slopes) // 2 :]
        if len(later) < 2:
            return self.last
        slopes = torch.tensor(later, dtype=torch.float64)
        times = self.epochs / self.span
        error = float(slopes.std()) / math.sqrt(len(later))
        return Gain(-times * float(slopes.mean()), times * error)

    def record(self) -> dict[str, float]:
        """Return the gain as entries of the history; infinite where it is not known."""
        gain = self.gain() or Gain(math.inf, math.inf)
        return {"gain": gain.nats, "gain_error": gain.error}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return {**vars(self), "last": self.last and tuple(self.last)}

    def take_back(self, content: Mapping[str, Any], device: torch.device) -> None:
        """Be again as in :meth:`to_dict`."""
        for name, value in content.items():
            if isinstance(value, list):
                value = [v.to(device) if isinstance(v, Tensor) else v for v in value]
            setattr(self, name, value.to(device) if isinstance(value, Tensor) else value)
        self.last = self.last and Gain(*self.last)
