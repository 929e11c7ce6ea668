"""Random numbers that belong to an example, not to its place in a batch.

A counter-based generator: every number is a hash of (seed, example, chain, step, draw). An
example's chain therefore sees the same noise in whatever batch, order, chunk or process it runs.
The hash is the output function of SplitMix64 (Steele, Lea & Flood, "Fast Splittable Pseudorandom
Number Generators", OOPSLA 2014), chained over the parts of the key.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros: torch has signed integers only."""
    shifted: Tensor = x >> bits
    shifted &= (1 << (64 - bits)) - 1
    return shifted


def _mix(x: Tensor) -> Tensor:
    """Return the hash of each number. In place where it can: these are the largest tensors."""
    for bits, factor in ((30, _MIX_1), (27, _MIX_2)):
        shifted = _shift(x, bits)
        shifted ^= x
        shifted *= factor
        x = shifted
    shifted = _shift(x, 31)
    shifted ^= x
    return shifted


def _mixed_number(x: int) -> int:
    """Return the hash of one number, as a signed one of 64 bits."""
    x %= 2**64
    x = (x ^ (x >> 30)) * _MIX_1 % 2**64
    x = (x ^ (x >> 27)) * _MIX_2 % 2**64
    x ^= x >> 31
    return (x + 2**63) % 2**64 - 2**63


def _multiples(first: int, count: int, device: torch.device) -> Int64[Tensor, " count"]:
    """Return ``first * γ, (first + 1) * γ, ...``, each modulo 2⁶⁴.

    As data, not as the product of a range: in a compiled loop that is a signed counter that
    overflows, from which a C++ compiler may conclude that the loop ends before it does.
    """
    numbers = np.arange(first, first + count, dtype=np.uint64) * np.uint64(_GAMMA % 2**64)
    return torch.from_numpy(numbers.view(np.int64)).to(device)


def step_key(key: Int64[Tensor, " n"], step: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Return the keys of a step of the chains with the given keys."""
    return _mix(key ^ (step + 1) * _GAMMA)


def step_keys(
    key: Int64[Tensor, " n"], step: Int64[Tensor, "..."], num_steps: int
) -> Int64[Tensor, "num_steps n"]:
    """Return the keys of a step and of those that follow it."""
    return _mix(key ^ ((step + 1) * _GAMMA + _multiples(0, num_steps, key.device)[:, None]))


def words(key: Int64[Tensor, "*n"], drawn: int, count: int) -> Int64[Tensor, "*n count"]:
    """Return random words, those after the first ``drawn`` of each stream."""
    return _mix(key[..., None] + _multiples(drawn + 1, count, key.device))


def normals(
    words: Int64[Tensor, "*n half"], size: int, dtype: torch.dtype
) -> Float[Tensor, "*n size"]:
    """Return standard normals by the Box-Muller transform, two from each word."""
    # (0, 1], so that the logarithm is finite; 32 bits reach out to 6.6 standard deviations.
    radius = _shift(words, 32).add_(1).to(dtype).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (words & 0xFFFFFFFF).to(dtype).mul_(2.0 * math.pi * 2.0**-32)
    return torch.cat([angle.cos().mul_(radius), angle.sin().mul_(radius)], -1)[..., :size]


def uniforms(words: Int64[Tensor, "*n"], dtype: torch.dtype) -> Float[Tensor, "*n"]:
    """Return uniform numbers in [0, 1), one from each word."""
    return _shift(words, 40).to(dtype) * 2.0**-24


class KeyedGenerator:
    """The random source of one step, one stream for each row of a batch.

    Made by :meth:`KeyedSource.at`. Like a ``torch.Generator`` it goes on with every draw.

    Parameters
    ----------
    chain_key : int64 Tensor, (n,)
        Of each row's chain.
    step : int64 Tensor, (n,) or ()
        Of each row, or of all.
    """

    def __init__(self, chain_key: Int64[Tensor, " n"], step: Int64[Tensor, "..."]) -> None:
        self.step = step
        self._chain_key = chain_key
        self._key: Tensor | None = None
        self._drawn = 0

    def _words(self, count: int) -> Int64[Tensor, "n count"]:
        if self._key is None:
            self._key = step_key(self._chain_key, self.step)
        drawn, self._drawn = self._drawn, self._drawn + count
        return words(self._key, drawn, count)

    def normal(self, size: int, dtype: torch.dtype) -> Float[Tensor, "n size"]:
        """Return standard normals, (n, size)."""
        return normals(self._words((size + 1) // 2), size, dtype)

    def uniform(self, size: int, dtype: torch.dtype) -> Float[Tensor, "n size"]:
        """Return uniform numbers in [0, 1), (n, size)."""
        return uniforms(self._words(size), dtype)


class KeyedSource:
    """The random source of many chains.

    Parameters
    ----------
    seed : int
        Seed of the whole run.
    example : int64 Tensor, (n,)
        Which example each row belongs to.
    chain : int64 Tensor, (n,)
        Which of the example's chains each row is.
    """

    def __init__(self, seed: int, example: Int64[Tensor, " n"], chain: Int64[Tensor, " n"]) -> None:
        # A Python integer beyond 64 bits, or negative, is a valid seed too.
        key = _mixed_number(seed + _GAMMA)
        self.key: Int64[Tensor, " n"] = _mix(_mix(example ^ key) + (chain + 1) * _GAMMA)

    @staticmethod
    def of_chains(seed: int, example: Int64[Tensor, " b"], num_chains: int) -> "KeyedSource":
        """Return the source of chain-major rows: all examples for the first chain, and so on."""
        chain = torch.arange(num_chains, device=example.device)
        return KeyedSource(
            seed, example.repeat(num_chains), chain.repeat_interleave(example.shape[0])
        )

    def at(self, step: Int64[Tensor, " n"] | int) -> KeyedGenerator:
        """Return the generator of a step, which may differ between rows."""
        return KeyedGenerator(self.key, torch.as_tensor(step, device=self.key.device))


Generator = torch.Generator | KeyedGenerator


def standard_normal(generator: Generator, like: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return standard normals of the shape, dtype and device of ``like``."""
    if isinstance(generator, KeyedGenerator):
        return generator.normal(like.shape[1], like.dtype)
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def uniform(generator: Generator, like: Float[Tensor, "n *k"]) -> Float[Tensor, "n *k"]:
    """Return uniform numbers in [0, 1) of the shape, (n,) or (n, k), and dtype of ``like``."""
    if isinstance(generator, KeyedGenerator):
        return generator.uniform(math.prod(like.shape[1:]), like.dtype).reshape(like.shape)
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def common_uniform(generator: Generator, like: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return a number in (0, 1) that all rows at the same step share.

    From a keyed generator it is the step's number in the van der Corput sequence, 1/2, 1/4, 3/4,
    1/8, ...: no row depends on another, and yet chains that run in step have the same.
    """
    if not isinstance(generator, KeyedGenerator):
        drawn = torch.rand((), generator=generator, dtype=like.dtype, device=like.device)
        return drawn.clamp(min=2.0**-24).expand_as(like)
    place = torch.arange(24, device=like.device)
    # The binary digits behind the point, mirrored: each sum of them is exact.
    digits = ((generator.step + 1)[..., None] >> place) & 1
    value = (digits.to(like.dtype) * torch.exp2(-1.0 - place.to(like.dtype))).sum(-1)
    return value.expand_as(like)
