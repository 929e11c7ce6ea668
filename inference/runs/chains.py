"""The warm-started chains of all examples, found by example index."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..kernels.base import Kernel, full_step_size
from ..noise.keyed import KeyedSource
from ..potentials.data import ExampleData
from ..potentials.initialization import InitStrategy, first_position, given_position
from ..potentials.potential import Potential, dtype_and_device
from ..warmup.windows import adapted_mass
from .files import make_room, new_file

MOST_KEPT_KEYS = 100_000
"""Chains up to which all keys are kept, which saves a visit some thirty small operations."""

PLACED_AT_ONCE = 10_000
"""Examples whose chains are placed at once in a file."""


@dataclass
class Chains:
    """Where the chains of n examples stand, c for each.

    Attributes
    ----------
    position : Tensor, (n, c, d)
        Unconstrained latents.
    step_size : Tensor, (n,)
        One for all chains of an example.
    num_steps : int64 Tensor, (n,)
        Steps that each example's chains have made: the time in its random stream.
    curvature : Tensor, (n, d) or (n, 0)
        Running geometric mean of the squared gradient, whose inverse root is the scale of the next
        visit; empty for kernels without a mass.
    file : Path, optional
        Where the positions lie, if not in memory.
    ids : Tensor, (n,), optional
        What each example's noise belongs to; by default its place.
    """

    position: Float[Tensor, "n c d"]
    step_size: Float[Tensor, " n"]
    num_steps: Int64[Tensor, " n"]
    curvature: Float[Tensor, "n k"]
    file: Path | None = None
    ids: Int64[Tensor, " n"] | None = None
    _keys: tuple[int, Tensor] | None = field(default=None, init=False, repr=False)

    @staticmethod
    def start(position: Float[Tensor, "n c d"], kernel: Kernel[Any]) -> "Chains":
        """Return chains that have not moved yet."""
        return Chains(
            position,
            full_step_size(kernel.step_size, position[:, 0]),
            torch.zeros(position.shape[0], dtype=torch.int64, device=position.device),
            torch.ones_like(position[:, 0, : _num_curvatures(kernel, position.shape[2])]),
        )

    @staticmethod
    def mapped(
        file: Path,
        shape: tuple[int, int, int],
        kernel: Kernel[Any],
        like: Tensor,
        unfinished: bool = False,
    ) -> "Chains":
        """Return chains whose positions lie in a file that is mapped into memory.

        A visit reads and writes the pages of its own examples; the others stay on disk. A file that
        is there already is taken as it is; a new one takes all its blocks from the disk at once.
        They have the dtype of ``like``, and everything else is on its device.

        Raises
        ------
        OSError
            If there is no room for it.
        """
        size = math.prod(shape)
        dtype = like.dtype
        if not file.exists():
            num_bytes = size * dtype.itemsize
            new_file(file, lambda new: make_room(new, num_bytes, "chains_file", file), unfinished)
        position = torch.from_file(str(file), shared=True, size=size, dtype=dtype).reshape(shape)
        step_size = full_step_size(kernel.step_size, like.new_empty(shape[0], 1))
        curvature = like.new_ones(shape[0], _num_curvatures(kernel, shape[2]))
        num_steps = torch.zeros(shape[0], dtype=torch.int64, device=like.device)
        return Chains(position, step_size, num_steps, curvature, file=file)

    @staticmethod
    def placed(
        potential: Potential,
        examples: ExampleData,
        num_chains: int,
        kernel: Kernel[Any],
        seed: int,
        strategy: InitStrategy | None,
        file: Path | None,
        unfinished: bool = False,
        ids: Int64[Tensor, " n"] | None = None,
        latents: Mapping[str, Tensor] | None = None,
    ) -> "Chains":
        """Return the chains of examples where they start, in memory or in a file."""

        def first(some: Potential, index: Tensor) -> Tensor:
            if latents is not None:
                return given_position(
                    some, {k: v[:, index.to(v.device)] for k, v in latents.items()}
                )
            keys = index if ids is None else ids[index]
            return first_position(some, num_chains, seed, strategy, keys)

        n = examples.num_examples
        if file is None:
            index = torch.arange(n, device=examples.device)
            position = first(potential.on(examples), index)
            return replace(Chains.start(position, kernel), ids=ids)
        dtype, _ = dtype_and_device(potential.model)
        like = torch.empty(0, dtype=dtype, device=examples.device)
        shape = n, num_chains, potential.latent_dim
        chains = Chains.mapped(file, shape, kernel, like, unfinished)
        chains.ids = ids
        for index in torch.arange(n, device=examples.device).split(PLACED_AT_ONCE):
            chains.put(index, first(potential.on(examples.select(index)), index))
        return chains

    def at(self, index: Int64[Tensor, " b"] | slice) -> Float[Tensor, "b c d"]:
        """Return the positions of some examples' chains, on the model's device."""
        where = index.to(self.position.device) if isinstance(index, Tensor) else index
        return self.position[where].to(self.step_size.device)

    def put(self, index: Int64[Tensor, " b"], position: Float[Tensor, "b c d"]) -> None:
        """Let the chains of some examples stand at positions."""
        device = self.position.device
        self.position[index.to(device)] = position.to(device)

    def keys(self, seed: int, index: Int64[Tensor, " b"]) -> Int64[Tensor, " rows"]:
        """Return the keys of some examples' random streams under a seed, chain-major."""
        n, c = self.position.shape[:2]
        if n * c > MOST_KEPT_KEYS:
            keys = index if self.ids is None else self.ids[index]
            return KeyedSource.of_chains(seed, keys, c).key
        if self._keys is None or self._keys[0] != seed:
            device = self.step_size.device
            example = torch.arange(n, device=device) if self.ids is None else self.ids
            self._keys = seed, KeyedSource.of_chains(seed, example, c).key.reshape(c, n)
        return self._keys[1][:, index].flatten()

    @property
    def num_chains(self) -> int:
        """Number of chains of each example, c."""
        return self.position.shape[1]

    def to_dict(self) -> dict[str, Tensor]:
        """Return the tensors, for a checkpoint."""
        return {
            "position": self.position,
            "step_size": self.step_size,
            "num_steps": self.num_steps,
            "curvature": self.curvature,
        }


def _num_curvatures(kernel: Kernel[Any], latent_dim: int) -> int:
    return 0 if adapted_mass(kernel, latent_dim) == "identity" else latent_dim
