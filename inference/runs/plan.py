"""What is to be sampled, and how chains go on that have been sampled before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

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

    def check_energies(self) -> None:
        """Evaluate the energies that chains go on from once more.

        Raises
        ------
        ValueError
            If they are not what was kept: the model or the data have changed.
        """
        check_energies(self.potential, self.state or {}, self.potential.autocast)


def check_energies(
    potential: Potential, state: Mapping[str, Tensor], autocast: torch.dtype | None
) -> None:
    """Evaluate the energies once more that a kernel's last state holds.

    Parameters
    ----------
    potential : Potential
        Of n examples.
    state : mapping of Tensor
        (c, n, ...); what has no energies, or NaN, is not compared.
    autocast : torch.dtype or None
        The precision that they were computed in, where not the model's own.

    Raises
    ------
    ValueError
        If they are not what was kept: the model or the data have changed.
    """
    if "position" not in state:
        return
    (n, d), fitting = state["position"].shape[1:], (potential.num_examples, potential.latent_dim)
    if (n, d) != fitting:
        raise ValueError(
            f"potential must be of the {n} examples and {d} latent components that these draws are "
            f"of, got {fitting[0]} and {fitting[1]}"
        )
    place = "last_" if "last_energy" in state else ""
    kept = state.get(f"{place}energy")
    if kept is None and "prior_energy" in state:
        kept = (state["prior_energy"] + state["likelihood_energy"])[..., 0]
    if kept is None or kept.shape != state["position"].shape[:2]:
        return
    roughly = 1e-4 if autocast is None else 3e-2
    device = potential.data.tensors()[0].device
    with evaluation_mode(potential.model):
        for chain, position in enumerate(state[f"{place}position"].to(device)):
            now, _ = potential.plain()(position)
            before = kept[chain].to(now)
            scale = roughly * (1 + now.nan_to_num(0.0, 0.0, 0.0).abs().max())
            apart = ~torch.isclose(now, before, rtol=roughly, atol=float(scale))
            apart &= ~before.isnan()
            if bool(apart.any()):
                i = int(torch.nonzero(apart)[0])
                raise ValueError(
                    f"the model or the data are not what these draws were made with: the energy"
                    f" of the last draw of chain {chain}, example {i}, was "
                    f"{float(before[i]):.6g} nats and is {float(now[i]):.6g}. Put them "
                    "back as they were, or sample afresh"
                )


def parameters_fingerprint(potential: Potential) -> str:
    """Return a digest of θ."""
    return fingerprint(list(parameters_of(potential.model, potential.data).values()))
