"""What the pieces of a model share: their examples' context, and a line of the catalogue each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

Context = Mapping[str, Tensor]
"""Example-first tensors by name, batched with y: exposure, an operator of each example, labels."""


class Read(Mapping[str, Tensor]):
    """A context that keeps which keys were asked for, found or not.

    Parameters
    ----------
    context : mapping of Tensor
        What is read.
    asked : set of str, optional
        Where they are kept.
    """

    def __init__(self, context: Context, asked: set[str] | None = None) -> None:
        self._context = dict(context)
        self.asked: set[str] = set() if asked is None else asked

    def __getitem__(self, key: str) -> Tensor:
        self.asked.add(key)
        return self._context[key]

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return key in self._context

    def __iter__(self) -> Iterator[str]:
        # Whoever goes through all of them may read any.
        self.asked.update(self._context)
        return iter(self._context)

    def __len__(self) -> int:
        return len(self._context)

    @property
    def unread(self) -> list[str]:
        """Keys that nobody has asked for."""
        return sorted(set(self._context) - self.asked)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "Read":
        """Return a context of other tensors under the same keys."""
        return Read({k: function(v) for k, v in self._context.items()}, self.asked)


def mapped(context: Context | None, function: Callable[[Tensor], Tensor]) -> Context | None:
    """Return a context of other tensors under the same keys, which does not read any of them."""
    if context is None or isinstance(context, Read):
        return None if context is None else context.mapped(function)
    return {key: function(value) for key, value in context.items()}


@dataclass(frozen=True)
class Entry:
    """A line of the catalogue of priors, observations and operators, kept with the piece itself.

    Attributes
    ----------
    distribution : str
        What it says, as a formula.
    source : str
        Where it comes from.
    example : str
        One line that makes such a piece, with the names of ``explainaway.models``, its
        ``priors``, ``observations`` and ``operators``, and ``torch``. Here it is text: what runs
        it is ``explainaway.catalogue``.
    shape : tuple of int, default (6,)
        Shape of one example's data that the example's observation fits.
    """

    distribution: str
    source: str
    example: str
    shape: tuple[int, ...] = (6,)
