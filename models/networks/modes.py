"""Training and evaluation mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from ..turns import TURNS


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a network without batch statistics and dropout, then put each part back as it was.

    Part by part: a layer that the user has frozen in evaluation mode must stay so.
    """
    with TURNS:
        training = [part for part in network.modules() if part.training]
        for part in training:
            part.training = False
        try:
            yield
        finally:
            for part in training:
                part.training = True
