"""What is to be sampled, and how chains go on that have been sampled before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from ..diagnostics.moments import Moments
from ..kernels.base import Kernel
from ..potentials.potential import Potential
from ..potentials.threads import one_at_a_time
from ..potentials.trace import parameters_of
from ..speed import Chosen
from .checkpoint import fingerprint
from .energies import StaleEnergy, stale_energies
from .outcome import Outcome

Accumulator = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Plan:
    """What is to be sampled.

    Attributes
    ----------
    potential : Potential
        Of all n examples.
    kernel : Kernel
        Moves the chains.
    start : Tensor, (n, c, d)
        Where chains start.
    seed : int
        Of the noise.
    warmup_steps, num_samples, thinning : int
        Of each chain: steps that are thrown away, then draws, with ``thinning`` steps for each.
    chunk_size : int
        Most chains at once; an example's chains stay together.
    accumulate : mapping
        As in ``sample_posterior``.
    chosen : Chosen
        Of compiling and arithmetic.
    anneal : bool
        Whether the chains start at the prior and are led to the posterior.
    tuning : mapping of Tensor, optional
        What an earlier warmup found.
    first_step : int
        Steps that the chains have made before: with the seed, the key of the noise.
    state : mapping of Tensor, optional
        A kernel's state to go on from, (c, n, ...).
    moments : mapping of Moments, optional
        What has been accumulated before.
    parameters : str, optional
        Fingerprint of θ when the chains got to that state.
    ids : Tensor, (n,), optional
        What each example's noise belongs to; by default its place.
    """

    potential: Potential
    kernel: Kernel[Any]
    start: Float[Tensor, "n c d"]
    seed: int
    warmup_steps: int
    num_samples: int
    thinning: int
    chunk_size: int
    accumulate: Mapping[str, Accumulator]
    chosen: Chosen
    anneal: bool = False
    tuning: Mapping[str, Tensor] | None = None
    first_step: int = 0
    state: Mapping[str, Tensor] | None = None
    moments: Mapping[str, Moments] | None = None
    parameters: str | None = None
    ids: Int64[Tensor, " n"] | None = None

    @property
    def num_steps(self) -> int:
        """All steps of a chain."""
        return self.warmup_steps + self.num_samples * self.thinning

    @property
    def chunks(self) -> list[slice]:
        """The examples of each chunk."""
        n, c = self.start.shape[:2]
        size = max(self.chunk_size // c, 1)
        return [slice(first, min(first + size, n)) for first in range(0, n, size)]

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        given = {} if self.ids is None else {"ids": fingerprint([self.ids])}
        return {
            **given,
            "model": parameters_fingerprint(self.potential),
            "data": fingerprint(self.potential.data.tensors()),
            "kernel": repr(self.kernel),
            "number of chains": self.start.shape[1],
            "schedule": [self.warmup_steps, self.num_samples, self.thinning],
            "first step": self.first_step,
            "chunk size": self.chunk_size,
            "seed": self.seed,
            "start": fingerprint([self.start]),
            "accumulated": sorted(self.accumulate),
        }

    def further(self, outcome: Outcome) -> "Plan":
        """Return the plan of as many draws again by the same chains, without a warmup."""
        return replace(
            self,
            start=outcome.state["position"].transpose(0, 1),
            warmup_steps=0,
            anneal=False,
            tuning=None,
            first_step=self.first_step + self.num_steps,
            state=outcome.state,
            moments=outcome.moments,
            parameters=parameters_fingerprint(self.potential),
        )

    def stale_energies(self) -> list[StaleEnergy]:
        """Evaluate the energies that chains go on from once more, and return those that differ."""
        return stale_energies(self.potential, self.state or {}, self.chunks)


@one_at_a_time
def parameters_fingerprint(potential: Potential) -> str:
    """Return a digest of θ."""
    return fingerprint(list(parameters_of(potential.model, potential.data).values()))
