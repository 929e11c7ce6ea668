"""The noise of several steps drawn at once: the same numbers, in a fraction of the operations."""

from collections.abc import Iterator, Sequence
from typing import Any

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

    What the first step asks for is taken to be what the others will; one that asks for something
    else gets it too, number by number what a :class:`KeyedGenerator` would give.

    Parameters
    ----------
    key : int64 Tensor, (n,)
        Of the chains.
    requests : sequence of Request, optional
        What a step is known to ask for; left out, the first one draws alone.
    """

    def __init__(self, key: Int64[Tensor, " n"], requests: Sequence[Request] | None = None) -> None:
        self._key = key
        self.requests: list[Request] = list(requests or ())
        self._drawn: Iterator[tuple[Tensor, ...]] = iter(())
        self._first = requests is None
        self._left = 0

    def at(self, step: Int64[Tensor, "..."], left: int) -> KeyedGenerator:
        """Return the generator of a step that ``left`` others will follow.

        ``step`` is (n,), or a number for all; it must be one more than in the call before.
        """
        if self._first:
            self._first = False
            return _Noting(self._key, step, self.requests)
        if self._left == 0:
            if not self.requests:
                return KeyedGenerator(self._key, step)
            self._draw(step, left + 1)
        self._left -= 1
        return _Drawn(self._key, step, self.requests, next(self._drawn))

    def _draw(self, step: Tensor, num_steps: int) -> None:
        per_step = sum(_num_words(request) for request in self.requests)
        num_steps = max(1, min(num_steps, MOST_STEPS, MOST_WORDS // (per_step * len(self._key))))
        # (steps, n, words)
        bits = words(step_keys(self._key, step, num_steps), 0, per_step)
        drawn = []
        for request, part in zip(
            self.requests, bits.split([_num_words(r) for r in self.requests], 2), strict=True
        ):
            kind, size, dtype = request
            values = normals(part, size, dtype) if kind == "normal" else uniforms(part, dtype)
            drawn.append(values.unbind())
        self._drawn = zip(*drawn, strict=True)
        self._left = num_steps


def _num_words(request: Request) -> int:
    kind, size, _ = request
    return (size + 1) // 2 if kind == "normal" else size


class _Noting(KeyedGenerator):
    """Notes what it is asked for."""

    def __init__(self, key: Tensor, step: Tensor, requests: list[Request]) -> None:
        super().__init__(key, step)
        self._requests = requests

    def normal(self, size: int, dtype: torch.dtype) -> Float[Tensor, "n size"]:
        self._requests.append(("normal", size, dtype))
        return super().normal(size, dtype)

    def uniform(self, size: int, dtype: torch.dtype) -> Float[Tensor, "n size"]:
        self._requests.append(("uniform", size, dtype))
        return super().uniform(size, dtype)


class _Drawn(KeyedGenerator):
    """Hands out what has been drawn."""

    def __init__(
        self, key: Tensor, step: Tensor, requests: list[Request], values: Sequence[Tensor]
    ) -> None:
        super().__init__(key, step)
        self._waiting: Any = iter(zip(requests, values, strict=True))

    def normal(self, size: int, dtype: torch.dtype) -> Float[Tensor, "n size"]:
        return self._take(("normal", size, dtype))

    def uniform(self, size: int, dtype: torch.dtype) -> Float[Tensor, "n size"]:
        return self._take(("uniform", size, dtype))

    def _take(self, asked: Request) -> Tensor:
        expected, value = next(self._waiting, (None, None))
        if expected != asked or value is None:
            # From here on this step draws for itself, from where it stands.
            self._waiting = iter(())
            kind, size, dtype = asked
            own = super().normal if kind == "normal" else super().uniform
            return own(size, dtype)
        self._drawn += _num_words(asked)
        drawn: Tensor = value
        return drawn
