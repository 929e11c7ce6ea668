"""A captured graph with the data that it is evaluated on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .graph import Graph


class Bound:
    """Evaluates a graph; what does not depend on the varying inputs is kept while it is the same.

    Parameters
    ----------
    graph : Graph
        What is evaluated.
    given : sequence of Tensor
        Its inputs that change seldom.
    """

    def __init__(self, graph: Graph, given: Sequence[Tensor]) -> None:
        self._graph = graph
        self._sources = [*given, *graph.held]
        self._versions: list[int] | None = None
        self._prepared: tuple[Tensor, ...] = ()

    def __call__(self, *varying: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, detached. Changes of weights and data in place are seen."""
        with torch.no_grad():
            versions = versions_of(self._sources)
            if versions is None or versions != self._versions:
                self._prepared = self._graph.prepare(*self._sources)
                self._versions = versions
            return self._graph.evaluate(*varying, *self._prepared)


def versions_of(tensors: Sequence[Tensor]) -> list[int] | None:
    """Return torch's counts of changes in place, None where it does not count them."""
    try:
        return [tensor._version for tensor in tensors]
    except RuntimeError:  # made in inference mode: torch does not count their changes
        return None
