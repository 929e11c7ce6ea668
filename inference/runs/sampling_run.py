"""The chains of some examples on their way through warmup and sampling."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..diagnostics.convergence import split_rhat
from ..diagnostics.moments import Moments, merge, moments_from_dict, moments_to_dict
from ..kernels.base import Info, Kernel
from ..kernels.capabilities import check_kernel, has_replicas, is_adjusted, tuning_of
from ..kernels.starts import check_start
from ..noise.ahead import NoiseAhead
from ..noise.keyed import KeyedGenerator, KeyedSource
from ..potentials.data import Identity
from ..potentials.potential import Potential
from ..warmup.ladder import LadderEstimate
from ..warmup.mass import MassEstimate
from ..warmup.step_size import DualAveraging
from ..warmup.windows import WarmupState, adapt, mass_windows, start_warmup

Accumulator = Callable[[Any], Tensor]

ANNEALING_POWER = 4
"""The likelihood's weight rises as this power of the share of steps made."""

STATS = ("lp", "acceptance_rate", "energy_error", "diverging")


class Schedule(NamedTuple):
    """How long a run is: warmup steps, then ``thinning`` steps for each draw that is kept."""

    warmup_steps: int
    num_samples: int
    thinning: int

    @property
    def num_steps(self) -> int:
        """All steps of a run."""
        return self.warmup_steps + self.num_samples * self.thinning


class SamplingRun:
    """c chains of each of some examples, rows chain-major, and where their draws go.

    Parameters
    ----------
    potential : Potential
        Of the examples, once each.
    kernel : Kernel
        Moves the chains.
    start : Tensor, (n, c, d)
        Where they start.
    schedule : Schedule
        Of the run.
    seed : int
        Of the noise.
    first_example : int
        Number of the first of these examples among all: part of the noise's key.
    first_step : int
        Steps that the chains had made before this run: another part.
    buffers : mapping of Tensor
        ``position`` (c, draws, n, d) and the statistics (c, draws, n), to be filled.
    accumulate : mapping of callable
        As in ``sample_posterior``.
    anneal : bool
        Let the likelihood's weight rise from nothing in the first part of warmup.
    """

    def __init__(
        self,
        potential: Potential,
        kernel: Kernel[Any],
        start: Float[Tensor, "n c d"],
        schedule: Schedule,
        seed: int,
        first_example: int,
        first_step: int,
        buffers: Mapping[str, Tensor],
        accumulate: Mapping[str, Accumulator],
        anneal: bool,
    ) -> None:
        n, c, d = start.shape
        self.step = 0
        self.num_chains, self.num_examples = c, n
        self.schedule = schedule
        self.moments: dict[str, Moments] = {}
        self.num_gradients = 0.0
        self.num_diverging = 0
        self._copies = potential.on(potential.data.repeat(c))
        self._kernel = kernel
        self._first_step = first_step
        self._buffers = buffers
        self._accumulate = accumulate
        example = first_example + torch.arange(n, device=start.device)
        self._source = KeyedSource.of_chains(seed, example, c)
        self._ahead: NoiseAhead | None = None
        check_kernel(kernel)
        self.state: Any = self._started(start.transpose(0, 1).reshape(c * n, d), self._copies)
        self._warmup = start_warmup(kernel, self.state, c)
        # Kernels that accept or reject, and whose step size can follow the changing target; one
        # with a ladder of its own needs no other.
        adjusts = is_adjusted(kernel) and not has_replicas(kernel)
        follows = kernel.step_size == "auto" and adjusts
        edges = mass_windows(schedule.warmup_steps)
        self._num_annealed = edges[0] if anneal and follows and edges else 0

    def tune(self, tuning: Mapping[str, Tensor]) -> None:
        """Take over what an earlier warmup found: each tensor (n, ...), or (1, ...) for all."""
        known = tuning_of(self._kernel, self.state)
        for name in tuning:
            if name not in known:
                raise ValueError(
                    f"tuning holds {name!r}, which {type(self._kernel).__name__} does not adapt: "
                    f"it has {sorted(known)}"
                )
        rows = {
            name: value.expand(self.num_examples, *value.shape[1:])
            .repeat(self.num_chains, *[1] * (value.dim() - 1))
            .to(known[name])
            for name, value in tuning.items()
        }
        self.state = self.state._replace(**rows)
        self._warmup = start_warmup(self._kernel, self.state, self.num_chains)

    def advance(self) -> Info:
        """Make one step of every chain; adapt in warmup, keep every ``thinning``-th draw after."""
        warmup_steps, _, thinning = self.schedule
        potential = self._annealed()
        if self.step < self._num_annealed:
            self._restart(potential)
        self.state, info = self._moved(potential)
        self.step += 1
        if self.step == self._num_annealed:
            self._restart(self._copies)
        if self.step <= warmup_steps:
            self.state, self._warmup = adapt(
                self._kernel,
                self.state,
                self._warmup,
                info,
                self.num_chains,
                self.step - 1,
                warmup_steps,
            )
            return info
        self.num_gradients += info.num_gradients
        self.num_diverging += int(info.diverging.sum())
        draw, rest = divmod(self.step - warmup_steps, thinning)
        if rest == 0:
            self._keep(draw - 1, info)
        return info

    def _moved(self, potential: Potential) -> tuple[Any, Info]:
        kernel, state_type = self._kernel, self._kernel.state_type
        name = ("step", Identity(kernel), state_type)
        if potential.fuses(name):
            # The noise is part of what is compiled.
            self._ahead = None
        elif self._ahead is None:
            self._ahead = NoiseAhead(self._source.key)
        ahead = self._ahead

        def step(potential: Potential, *tensors: Tensor) -> tuple[Tensor, ...]:
            *fields, time, key = tensors
            if ahead is None:
                generator = KeyedGenerator(key, time)
            else:
                generator = ahead.at(time, self.schedule.num_steps - self.step - 1)
            state, info = kernel.step(state_type(*fields), potential, generator)
            *statistics, num_gradients = info
            return *state, *statistics, torch.as_tensor(num_gradients)

        time = torch.tensor(self._first_step + self.step, device=self._source.key.device)
        moved = potential.fused(name, step, *self.state, time, self._source.key)
        fields = len(self.state)
        rate, accepted, diverging, error, energy, num_gradients = moved[fields:]
        info = Info(rate, accepted, diverging, error, energy, float(num_gradients))
        return state_type(*moved[:fields]), info

    def _annealed(self) -> Potential:
        """Return the target of the next step: the posterior, or what leads to it from the prior.

        Chains that begin at draws from the prior and meet the whole likelihood at once end in the
        nearest of its modes; slowly, they find the better ones.
        """
        if self.step >= self._num_annealed:
            return self._copies
        beta = ((self.step + 1) / self._num_annealed) ** ANNEALING_POWER
        return self._copies.tempered(torch.full_like(self.state.energy, beta))

    def _restart(self, potential: Potential) -> None:
        tuning = tuning_of(self._kernel, self.state)
        self.state = self._started(self.state.position, potential)._replace(**tuning)

    def _started(self, position: Float[Tensor, "rows d"], potential: Potential) -> Any:
        state = self._kernel.init(position, potential)
        check_start(self._kernel, state)
        return state

    def _keep(self, draw: int, info: Info) -> None:
        c, n = self.num_chains, self.num_examples
        position = self.state.position.reshape(c, n, -1)
        self._buffers["position"][:, draw] = position
        self._buffers["lp"][:, draw] = -info.potential_energy.reshape(c, n)
        for name in STATS[1:]:
            self._buffers[name][:, draw] = getattr(info, name).reshape(c, n)
        if not self._accumulate:
            return
        latents = self.constrained(position)
        argument = next(iter(latents.values())) if len(latents) == 1 else latents
        with torch.no_grad():
            for name, function in self._accumulate.items():
                self.moments[name] = merge(self.moments.get(name), function(argument))

    def constrained(self, position: Float[Tensor, "c n d"]) -> dict[str, Tensor]:
        """Return constrained latents by site, (c, n, ...)."""
        latents = self._copies.unflatten(position.flatten(0, 1))
        return {name: v.reshape(*position.shape[:2], *v.shape[1:]) for name, v in latents.items()}

    @property
    def num_drawn(self) -> int:
        """Draws kept so far."""
        return max(self.step - self.schedule.warmup_steps, 0) // self.schedule.thinning

    def worst_rhat(self, draws: int = 200, examples: int = 200) -> float | None:
        """Return the largest split r-hat so far, None before there are draws to compare.

        For a progress bar: of some draws and examples where there are many.
        """
        if self.num_drawn < 8:
            return None
        stride = -(-self.num_drawn // draws)
        some = self._buffers["position"][:, : self.num_drawn : stride, :examples]
        values = split_rhat(some)
        return float(values[values.isfinite()].max()) if bool(values.isfinite().any()) else None

    def state_by_chain(self) -> dict[str, Tensor]:
        """Return the kernel's state, (c, n, ...)."""
        return {
            name: value.reshape(self.num_chains, self.num_examples, *value.shape[1:])
            for name, value in self.state._asdict().items()
        }

    def restore_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of :meth:`state_by_chain`."""
        self.state = self.state._replace(**{k: v.flatten(0, 1) for k, v in state.items()})

    def tuning(self) -> dict[str, Tensor]:
        """Return what warmup has found, one for each example, (n, ...)."""
        tuning = tuning_of(self._kernel, self.state)
        return {name: value[: self.num_examples] for name, value in tuning.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return everything that going on takes but the draws; the noise is keyed."""
        warmup = self._warmup
        return {
            "step": self.step,
            "state": self.state_by_chain(),
            "warmup": {
                name: value._asdict() if hasattr(value, "_asdict") else value
                for name, value in warmup._asdict().items()
            },
            "moments": moments_to_dict(self.moments),
            "num_gradients": self.num_gradients,
            "num_diverging": self.num_diverging,
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Go on from :meth:`to_dict`."""
        self.step = content["step"]
        self.restore_state(content["state"])
        warmup = content["warmup"]
        self._warmup = WarmupState(
            DualAveraging(**warmup["step_size"]),
            warmup["chain_rate"],
            None if warmup["moments"] is None else MassEstimate(**warmup["moments"]),
            None if warmup["ladder"] is None else LadderEstimate(**warmup["ladder"]),
        )
        self.moments = moments_from_dict(content["moments"])
        self.num_gradients = content["num_gradients"]
        self.num_diverging = content["num_diverging"]
