"""Whether the loss still has a slope: the score test, of gradients that learning makes anyway."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..relative_adam import as_real
from .travel import GROWTH

FIRST_EPOCHS = 3
"""Epochs of a window from which on it says something where nothing is known yet."""

FEWEST_EPOCHS = 4
"""Epochs from which on it says more than the window before."""

LEAST = 0.003
"""Nats per example: a slope that is worth less is left alone."""


class ScoreGain(NamedTuple):
    """By how much the loss would fall at the minimum of its quadratic approximation, at least.

    Attributes
    ----------
    nats : float
        Per example.
    error : float
        Its standard error where there is no slope.
    """

    nats: float
    error: float

    @property
    def is_seen(self) -> bool:
        """Whether it is more than noise, by three standard errors, and worth it."""
        return self.nats - 3 * self.error > LEAST


class ScoreTest:
    """Mean gradients of even and of odd epochs, and the spread of those of single batches.

    With g the gradient of the loss and I the information of an example, ``½ gᵀ I⁻¹ g`` is what the
    minimum of the quadratic approximation is worth; 2n times it is the statistic of the score test.
    For I stands the variance of the batches' gradients, component by component, and for the square
    the product of two means whose noise is independent: it is zero on average where there is no
    slope, however noisy the gradients. Draws of the latents add to that variance, and components
    are correlated, so what is found is less than what is to be gained, by the share of the
    information that is missing.

    With more parameters than examples nothing is kept or said: that chains of neighbouring epochs
    are not quite independent adds up.

    Parameters
    ----------
    num_examples : int
        That are learned from.

    References
    ----------
    Rao, "Large sample tests of statistical hypotheses concerning several parameters with
    applications to problems of estimation" (1948); Louis, "Finding the observed information matrix
    when using the EM algorithm" (1982).
    """

    def __init__(self, num_examples: int) -> None:
        self.num_examples = num_examples
        self.epoch = 0
        self.begin, self.end = 0, 2
        self.last: ScoreGain | None = None
        self.sums: list[list[Tensor]] = [[], []]
        self.weights = [0, 0]
        self.squares: list[Tensor] = []
        self.batches = 0

    @torch.no_grad()
    def add(self, gradients: Sequence[Tensor], weight: int) -> None:
        """Take in the loss's gradient at an iteration, of so many examples."""
        parts = [as_real(gradient) for gradient in gradients]
        if sum(part.numel() for part in parts) > self.num_examples:
            return
        if not self.squares or [s.shape for s in self.squares] != [p.shape for p in parts]:
            self._begin_window(parts)
        half = self.epoch % 2
        torch._foreach_add_(self.sums[half], parts, alpha=weight)
        torch._foreach_addcmul_(self.squares, parts, parts, weight**2)
        self.weights[half] += weight
        self.batches += 1

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Take in that an epoch is over."""
        self.epoch += 1
        least = FIRST_EPOCHS if self.last is None else FEWEST_EPOCHS
        if self.epoch - self.begin >= least and all(self.weights):
            self.last = self._found()
        if self.epoch == self.end:
            self.begin, self.end = self.end, math.ceil(self.end * GROWTH)
            self.squares = []

    def _begin_window(self, like: Sequence[Tensor]) -> None:
        self.sums = [[torch.zeros_like(g) for g in like] for _ in range(2)]
        self.squares = [torch.zeros_like(g) for g in like]
        self.weights, self.batches = [0, 0], 0

    def _found(self) -> ScoreGain:
        num_parameters = sum(square.numel() for square in self.squares)
        total = 0.0
        even, odd = self.weights
        size = (even + odd) / self.batches
        for a, b, square in zip(*self.sums, self.squares, strict=True):
            a, b = a.double(), b.double()
            mean = (a + b) / (even + odd)
            spread = square.double() / self.batches / size**2 - mean**2
            share = torch.where(spread > 0, a * b / (even * odd) / spread, 0.0)
            total += float(share.sum())
        error = math.sqrt(num_parameters) / (2 * math.sqrt(even * odd))
        return ScoreGain(total / (2 * size), error)

    def record(self) -> dict[str, float]:
        """Return what was found as entries of the history; infinite where nothing was."""
        nats, error = self.last or (math.inf, math.inf)
        return {"score_gain": nats, "score_gain_error": error}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return {**vars(self), "last": self.last and tuple(self.last)}

    def take_back(self, content: Mapping[str, Any], device: torch.device) -> None:
        """Be again as in :meth:`to_dict`."""
        vars(self).update(content)
        self.sums = [[part.to(device) for part in half] for half in self.sums]
        self.squares = [square.to(device) for square in self.squares]
        self.last = self.last and ScoreGain(*self.last)
