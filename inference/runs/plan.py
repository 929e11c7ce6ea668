"""What is to be sampled, and how chains go on that have been sampled before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..diagnostics.moments import Moments
from ..kernels.base import Kernel
from ..potentials.potential import Potential
from ..potentials.trace import evaluation_mode, parameters_of
from ..speed import Chosen
from .checkpoint import fingerprint
from .outcome import Outcome

Accumulator = Callable[[Any], Tensor]


class StaleEnergy(NamedTuple):
    """A chain whose kept energy, nats, is not that of its position now."""

    example: int
    chain: int
    kept: float
    now: float


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
        state = self.state or {}
        place = "last_" if "last_energy" in state else ""
        kept = state.get(f"{place}energy")
        if kept is None and "prior_energy" in state:
            kept = (state["prior_energy"] + state["likelihood_energy"])[..., 0]
        if kept is None or kept.shape != state["position"].shape[:2]:
            return []
        position = state[f"{place}position"]
        roughly = 1e-4 if self.potential.autocast is None else 3e-2
        stale = []
        with evaluation_mode(self.potential.model):
            for examples in self.chunks:
                potential = self.potential.plain().rows(examples)
                for chain, at in enumerate(position[:, examples]):
                    now, before = potential(at)[0], kept[chain, examples]
                    # Not the largest: one example far away must not excuse the others.
                    sizes = now[now.isfinite()].abs()
                    atol = roughly * (1 + float(sizes.median()) if len(sizes) else 1.0)
                    apart = ~torch.isclose(now, before, rtol=roughly, atol=atol)
                    for i in torch.nonzero(apart & ~before.isnan())[:, 0].tolist():
                        example = examples.start + i
                        stale.append(StaleEnergy(example, chain, float(before[i]), float(now[i])))
        return stale

    def check_energies(self) -> None:
        """Raise ValueError if energies are not what was kept: model or data have changed."""
        stale = self.stale_energies()
        if stale:
            first = stale[0]
            raise ValueError(
                f"the model or the data are not what these draws were made with: the energy"
                f" of the last draw of chain {first.chain}, example {first.example}, was "
                f"{first.kept:.6g} nats and is {first.now:.6g}. Put them "
                "back as they were, or sample afresh"
            )


def parameters_fingerprint(potential: Potential) -> str:
    """Return a digest of θ."""
    return fingerprint(list(parameters_of(potential.model, potential.data).values()))
