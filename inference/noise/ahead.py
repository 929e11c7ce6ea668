"""The noise of several steps drawn at once: the same numbers, in a fraction of the operations."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .keyed import KeyedGenerator, normals, step_keys, uniforms, words

MOST_WORDS = 2**20
"""Random words that are drawn at once: 8 MB."""

MOST_STEPS = 32
"""Steps that are drawn ahead."""

Request = tuple[str, int, torch.dtype]


class NoiseAhead:
    """Generators for consecutive steps of the same chains.

    What a step asks for is drawn for those that follow it too, which will most likely ask the same;
    one that asks for something else gets it, number by number what a :class:`KeyedGenerator` would
    give.

    Parameters
    ----------
    key : int64 Tensor, (n,)
        Of the chains.
    """

    def __init__(self, key: Int64[Tensor, " n"]) -> None:
        self._key = key
        self._block: _Block | None = None
        self._place = 0

    def at(self, step: Int64[Tensor, "..."], left: int) -> KeyedGenerator:
        """Return the generator of a step that ``left`` others will follow.

        ``step`` is (n,), or a number for all; it must be one more than in the call before.
        """
        if self._block is None or self._place == self._block.num_steps:
            self._block = _Block(self._key, step, min(left + 1, MOST_STEPS))
            self._place = 0
        self._place += 1
        return _Drawn(self._key, step, self._block, self._place - 1)


class _Block:
    """Noise of consecutive steps: request by request, as the first of them asks."""

    def __init__(self, key: Tensor, step: Tensor, num_steps: int) -> None:
        self.num_steps = num_steps
        self._key = key
        self._step = step
        self._keys: Tensor | None = None
        self._drawn: list[tuple[Request, Sequence[Tensor]]] = []

    def value(self, place: int, number: int, asked: Request, before: int) -> Tensor | None:
        """Return what a step's request number so-and-so gets, None if it is not the first step's.

        ``before`` is how many words the step has had.
        """
        if number == len(self._drawn) and place == 0:
            self._drawn.append((asked, self._draw(asked, before)))
        known, values = self._drawn[number] if number < len(self._drawn) else (None, ())
        return values[place] if known == asked else None

    def _draw(self, asked: Request, before: int) -> Sequence[Tensor]:
        kind, size, dtype = asked
        count = _num_words(asked)
        if self._keys is None:
            most = MOST_WORDS // (count * len(self._key))
            self.num_steps = max(1, min(self.num_steps, most))
            self._keys = step_keys(self._key, self._step, self.num_steps)
        # (steps, n, words)
        bits = words(self._keys, before, count)
        values = normals(bits, size, dtype) if kind == "normal" else uniforms(bits, dtype)
        return values.unbind()


def _num_words(request: Request) -> int:
    kind, size, _ = request
    return (size + 1) // 2 if kind == "normal" else size


class _Drawn(KeyedGenerator):
    """Hands out what has been drawn."""

    def __init__(self, key: Tensor, step: Tensor, block: _Block, place: int) -> None:
        super().__init__(key, step)
        self._block: _Block | None = block
        self._place = place
        self._number = 0

    def normal(self, size: int, dtype: torch.dtype) -> Float[Tensor, "n size"]:
        return self._take(("normal", size, dtype))

    def uniform(self, size: int, dtype: torch.dtype) -> Float[Tensor, "n size"]:
        return self._take(("uniform", size, dtype))

    def _take(self, asked: Request) -> Tensor:
        drawn = None
        if self._block is not None:
            drawn = self._block.value(self._place, self._number, asked, self._drawn)
        if drawn is None:
            # From here on this step draws for itself, from where it stands.
            self._block = None
            kind, size, dtype = asked
            own = super().normal if kind == "normal" else super().uniform
            return own(size, dtype)
        self._number += 1
        self._drawn += _num_words(asked)
        return drawn
