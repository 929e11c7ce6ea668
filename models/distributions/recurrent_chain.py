"""Sequences of which each state is told from all states before, as a Pyro distribution."""

import copy
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints


class RecurrentChain(dist.TorchDistribution):
    """Normal states whose mean and scale a recurrent network tells from all states before.

    Parameters
    ----------
    recurrence : nn.GRU
        From states (n, T, d) to what it remembers, (n, T, hidden).
    head : nn.Module
        From that to means and log scales, (n, T, 2 d).
    length : int
        States in a sequence.
    batch_shape : torch.Size, default ()
        Independent sequences.
    """

    arg_constraints = {}  # noqa: RUF012 - torch reads it from the class
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        recurrence: nn.GRU,
        head: nn.Module,
        length: int,
        batch_shape: torch.Size | None = None,
    ) -> None:
        self.recurrence = recurrence
        self.head = head
        self.length = length
        shape = torch.Size((length, recurrence.input_size))
        super().__init__(batch_shape or torch.Size(), shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "RecurrentChain":
        """Return the same distribution with more batch dimensions."""
        other = copy.copy(self)
        other._batch_shape = torch.Size(batch_shape)
        return other

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of sequences (..., T, d), in nats: one run of the recurrence."""
        if self._validate_args:
            self._validate_sample(value)
        states = value.reshape(-1, *self.event_shape)
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)
        loc, scale = self._predicted(self.recurrence(before)[0])
        density: Tensor = dist.Normal(loc, scale).log_prob(states).sum((1, 2))
        return density.reshape(value.shape[:-2])

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw sequences, (*sample_shape, *batch_shape, T, d), one state after the other."""
        shape = self._extended_shape(torch.Size(sample_shape))
        first = next(self.recurrence.parameters())
        start = torch.zeros(shape.numel() // self.event_shape.numel(), 1, shape[-1]).to(first)
        return self._followed(start, self.length).reshape(shape)

    def continued(self, states: Tensor, num_steps: int) -> Tensor:
        """Draw what follows given sequences (..., T, d): (..., num_steps, d)."""
        rows = states.reshape(-1, *states.shape[-2:])
        given = torch.cat([torch.zeros_like(rows[:, :1]), rows], 1)
        followed = self._followed(given, num_steps)
        return followed.reshape(*states.shape[:-2], num_steps, states.shape[-1])

    def _followed(self, states: Tensor, num_steps: int) -> Tensor:
        """Draw the states after (n, T, d), of which the first is the zero that starts a chain."""
        drawn: list[Tensor] = []
        memory: Tensor | None = None
        for _ in range(num_steps):
            remembered, memory = self.recurrence(states, memory)
            loc, scale = self._predicted(remembered[:, -1:])
            states = loc + scale * torch.randn_like(loc)
            drawn.append(states)
        return torch.cat(drawn, 1)

    def _predicted(self, remembered: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = self.head(remembered).chunk(2, -1)
        return loc, log_scale.exp()
