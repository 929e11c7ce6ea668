"""The mean of θ over the iterations of a learning run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class ParameterAverage:
    """Running mean of parameters by name.

    With a learning rate that falls slowly, or not at all, the iterates go on wandering around the
    optimum; their mean is nearer to it and reaches the best possible rate.

    References
    ----------
    Polyak & Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    """

    def __init__(self) -> None:
        self.mean: dict[str, Tensor] = {}
        self.count = 0

    @torch.no_grad()
    def add(self, parameters: Mapping[str, Tensor]) -> None:
        """Add the present values."""
        self.count += 1
        for name, value in parameters.items():
            if name not in self.mean:
                self.mean[name] = value.detach().clone()
            else:
                self.mean[name].lerp_(value, 1 / self.count)

    @contextmanager
    def put_into(self, parameters: Mapping[str, Tensor]) -> Iterator[None]:
        """Put the mean in the parameters' place, and them back afterwards."""
        kept = {name: value.detach().clone() for name, value in parameters.items()}
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(self.mean[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in parameters.items():
                    value.copy_(kept[name])
