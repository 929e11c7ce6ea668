"""The chains of one chunk of examples on their way through warmup and sampling."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..diagnostics.convergence import split_rhat
from ..diagnostics.moments import Moments, merge, moments_from_dict, moments_to_dict
from ..kernels.base import Info
from ..kernels.capabilities import has_replicas, is_adjusted, tuning_of
from ..kernels.starts import NonFiniteStartError, rows_not_finite
from ..noise.ahead import NoiseAhead
from ..noise.keyed import KeyedGenerator, KeyedSource
from ..potentials.data import Identity
from ..potentials.evaluation import Task
from ..potentials.potential import Potential
from ..warmup.ladder import LadderEstimate
from ..warmup.mass import MassEstimate
from ..warmup.step_size import DualAveraging
from ..warmup.windows import WarmupState, adapt, mass_windows, start_warmup
from .outcome import Outcome
from .plan import Plan

ANNEALING_POWER = 4
"""The likelihood's weight rises as this power of the share of steps made."""

STATS = ("lp", "acceptance_rate", "energy_error", "diverging")


class ChunkRun:
    """c chains of each of some examples, rows chain-major, and where their draws go.

    Parameters
    ----------
    plan : Plan
        Of all examples.
    examples : slice
        Which of them.
    buffers : mapping of Tensor
        ``position`` (c, draws, n, d) and the statistics (c, draws, n), to be filled.
    """

    def __init__(self, plan: Plan, examples: slice, buffers: Mapping[str, Tensor]) -> None:
        index = torch.arange(len(plan.start), device=plan.start.device)[examples]
        whole = len(index) == len(plan.start)
        potential = plan.potential if whole else plan.potential.rows(index)
        kernel, start, seed = plan.kernel, plan.start[examples], plan.seed
        n, c, d = start.shape
        self.step = 0
        self.num_chains, self.num_examples = c, n
        self._first = int(index[0])
        self.plan = plan
        self.moments: dict[str, Moments] = {}
        self.num_gradients = 0.0
        self.num_diverging = 0
        self.seconds = 0.0
        self._copies = potential.on(potential.data.repeat(c))
        self._kernel = kernel
        self._buffers = buffers
        ids = index if plan.ids is None else plan.ids[examples]
        self._source = KeyedSource.of_chains(seed, ids, c)
        self._ahead: NoiseAhead | None = None
        self.state: Any = self._started(start.transpose(0, 1).reshape(c * n, d), self._copies)
        self._warmup = start_warmup(kernel, self.state, c)
        # Kernels that accept or reject, and whose step size can follow the changing target; one
        # with a ladder of its own needs no other.
        adjusts = is_adjusted(kernel) and not has_replicas(kernel)
        follows = kernel.step_size == "auto" and adjusts
        edges = mass_windows(plan.warmup_steps)
        self._num_annealed = edges[0] if plan.anneal and follows and edges else 0
        if plan.tuning is not None:
            whole_tuning = plan.tuning.items()
            self._tune(
                {k: v[examples] if len(v) == len(plan.start) else v for k, v in whole_tuning}
            )
        if plan.state is not None:
            self._restore_state({name: value[:, examples] for name, value in plan.state.items()})
        for name, m in (plan.moments or {}).items():
            self.moments[name] = Moments(m.mean[examples], m.squares[examples], m.num_values)

    def _tune(self, tuning: Mapping[str, Tensor]) -> None:
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
        warmup_steps, thinning = self.plan.warmup_steps, self.plan.thinning
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
            self._keep(draw - 1)
        draw, rest = divmod(self.step - self._is_late - warmup_steps, thinning)
        if rest == 0 and draw > 0:
            self._tell(draw - 1, info)
        return info

    @property
    def _is_late(self) -> bool:
        """Whether the kernel evaluates a position, and so judges its move, when it leaves it."""
        return "last_energy" in self._kernel.state_type._fields

    def _moved(self, potential: Potential) -> tuple[Any, Info]:
        kernel, state_type = self._kernel, self._kernel.state_type
        task = Task(("step", Identity(kernel), state_type), self._step, num_steps=1)
        if potential.evaluator.fuses(task):
            # The noise is part of what is compiled.
            self._ahead = None
        elif self._ahead is None:
            self._ahead = NoiseAhead(self._source.key)
        time = torch.tensor(self.plan.first_step + self.step, device=self._source.key.device)
        moved = potential.evaluator(task, potential, *self.state, time, self._source.key)
        fields = len(self.state)
        rate, accepted, diverging, error, energy, num_gradients = moved[fields:]
        info = Info(rate, accepted, diverging, error, energy, float(num_gradients))
        return state_type(*moved[:fields]), info

    def _step(self, potential: Potential, *tensors: Tensor) -> tuple[Tensor, ...]:
        *fields, time, key = tensors
        if self._ahead is None:
            generator = KeyedGenerator(key, time)
        else:
            generator = self._ahead.at(time, max(0, self.plan.num_steps - self.step - 1))
        state, info = self._kernel.step(type(self.state)(*fields), potential, generator)
        *statistics, num_gradients = info
        return *state, *statistics, torch.as_tensor(num_gradients)

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
        self._check(state)
        return state

    def _check(self, state: Any) -> None:
        """Raise NonFiniteStartError, with the examples' own numbers, if a chain cannot start."""
        rows = rows_not_finite(self._kernel, state)
        if not rows:
            return
        of_row = {row: self._first + row % self.num_examples for row in rows}
        first, examples = rows[0], sorted(set(of_row.values()))
        energy = float(state.energy[first])
        what = "its gradient is not finite" if math.isfinite(energy) else f"its energy is {energy}"
        largest = self._copies.data.select(slice(first, first + 1)).largest()
        raise NonFiniteStartError(
            f"the chains of example {of_row[first]} cannot start: {what}, and the largest number "
            f"in its data is {largest:g} ({len(examples)} of {self.num_examples} examples, the "
            f"first {examples[:5]}): leave it out, or look for values that the model cannot have "
            "produced",
            rows,
        )

    def _tell(self, draw: int, info: Info) -> None:
        """Keep what a step says of a draw."""
        c, n = self.num_chains, self.num_examples
        self._buffers["lp"][:, draw] = -info.potential_energy.reshape(c, n)
        for name in STATS[1:]:
            self._buffers[name][:, draw] = getattr(info, name).reshape(c, n)

    def _keep(self, draw: int) -> None:
        position = self.state.position.reshape(self.num_chains, self.num_examples, -1)
        self._buffers["position"][:, draw] = position
        if not self.plan.accumulate:
            return
        latents = self.constrained(position)
        argument = next(iter(latents.values())) if len(latents) == 1 else latents
        with torch.no_grad():
            for name, function in self.plan.accumulate.items():
                self.moments[name] = merge(self.moments.get(name), function(argument))

    def constrained(self, position: Float[Tensor, "c n d"]) -> dict[str, Tensor]:
        """Return constrained latents by site, (c, n, ...)."""
        latents = self._copies.unflatten(position.flatten(0, 1))
        return {name: v.reshape(*position.shape[:2], *v.shape[1:]) for name, v in latents.items()}

    @property
    def num_drawn(self) -> int:
        """Draws kept so far."""
        return max(self.step - self.plan.warmup_steps, 0) // self.plan.thinning

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

    @property
    def is_over(self) -> bool:
        """Whether all draws are made."""
        return self.step == self.plan.num_steps

    def outcome(self) -> Outcome:
        """Return what the chains leave behind beside their draws, whose last is told of too."""
        if self._is_late:
            _, info = self._moved(self._copies)
            self.num_gradients += info.num_gradients
            self._tell(self.num_drawn - 1, info)
        tuning = {
            name: value[: self.num_examples]
            for name, value in tuning_of(self._kernel, self.state).items()
        }
        return Outcome(
            self._state_by_chain(), tuning, self.moments, self.num_gradients, self.seconds
        )

    def _state_by_chain(self) -> dict[str, Tensor]:
        """Return the kernel's state, (c, n, ...)."""
        return {
            name: value.reshape(self.num_chains, self.num_examples, *value.shape[1:])
            for name, value in self.state._asdict().items()
        }

    def _restore_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of :meth:`_state_by_chain`."""
        self.state = self.state._replace(**{k: v.flatten(0, 1) for k, v in state.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return everything that going on takes but the draws; the noise is keyed."""
        warmup = self._warmup
        return {
            "step": self.step,
            "state": self._state_by_chain(),
            "warmup": {
                name: value._asdict() if hasattr(value, "_asdict") else value
                for name, value in warmup._asdict().items()
            },
            "moments": moments_to_dict(self.moments),
            "num_gradients": self.num_gradients,
            "num_diverging": self.num_diverging,
            "seconds": self.seconds,
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Go on from :meth:`to_dict`."""
        self.step = content["step"]
        self._restore_state(content["state"])
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
        self.seconds = content["seconds"]
