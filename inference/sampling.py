"""Sampling the posterior of many examples, every chain of each in one batch."""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from .adaptation import DualAveraging, adapt_in_warmup, start_dual_averaging
from .checkpoint import check_folder, fingerprint, load_checkpoint, save_checkpoint
from .checks import check_positive
from .hmc import HMC
from .initialization import InitStrategy, first_position
from .interrupt import deferred_interrupt
from .kernel import Info, Kernel
from .moments import Moments, merge
from .noise import KeyedSource
from .posterior import Posterior
from .potential import Potential, bind
from .trace import Model, evaluation_mode, parameters_of

Accumulator = Callable[[Any], Tensor]


def sample_posterior(
    model: Model,
    *data: Any,
    kernel: Kernel[Any] | None = None,
    num_chains: int = 4,
    warmup_steps: int = 300,
    num_samples: int = 500,
    seed: int = 0,
    mask: Any = None,
    context: Any = None,
    accumulate: Mapping[str, Accumulator] | None = None,
    init_strategy: InitStrategy | None = None,
    example_plate: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    progress: bool = True,
) -> Posterior:
    """Sample the latents of every example, every chain in one batch, θ fixed.

    Parameters
    ----------
    model : callable
        A :class:`~explainaway.models.GeneratorModel` or any Pyro model with an example plate; an
        ``nn.Module`` is run in evaluation mode.
    *data : Tensor, array, Dataset or DataLoader
        As for :meth:`AlternatingBackProp.fit`.
    kernel : Kernel, default HMC()
        Moves the chains.
    num_chains : int, default 4
        Chains of each example, from dispersed starts.
    warmup_steps : int, default 300
        Steps that are thrown away; an ``"auto"`` step size adapts in them, one for each example,
        pooled over its chains, and is frozen afterwards.
    num_samples : int, default 500
        Draws of each chain.
    seed : int, default 0
        Reproduces the draws. The noise belongs to the example: its draws do not depend on which
        others are sampled with it, nor on their order, up to rounding.
    mask, context : optional
        Handed to the model by these names.
    accumulate : mapping of callable, optional
        From a name to a function of the constrained latents (those of one site, or a dict),
        (chains, n, ...), giving (chains, n, ...): its posterior mean and variance are computed
        on the way, without keeping its values. ``{"image": model.decode}``.
    init_strategy : callable, optional
        Where chains start: one of ``pyro.infer.autoguide.initialization``. By default standard
        normal in unconstrained space.
    example_plate : str, optional
        Name of the plate over examples, where it is not the only one.
    checkpoint : path, optional
        File to keep the run in. If it exists, the run goes on from it, in warmup too, and ends
        with the same bits as one that was never stopped. Ctrl-C leaves it in order.
    checkpoint_seconds : float, default 60
        Least time between two writings of it.
    progress : bool, default True
        Show a progress bar.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        If model, data, checkpoint or a number do not fit; the message names the argument.
    FileNotFoundError
        If the checkpoint's folder does not exist.
    KeyboardInterrupt
        After Ctrl-C, between two steps; the message says how to go on.

    Warns
    -----
    UserWarning
        If proposals diverged after warmup: how many, in which examples, and the remedy.
    """
    check_positive("num_chains", num_chains)
    check_positive("num_samples", num_samples)
    if not isinstance(warmup_steps, int) or warmup_steps < 0:
        raise ValueError(f"warmup_steps must be an integer of at least 0, got {warmup_steps!r}")
    path = None if checkpoint is None else check_folder(checkpoint, "checkpoint")
    kernel = HMC() if kernel is None else kernel
    potential = bind(model, *data, mask=mask, context=context, example_plate=example_plate)
    start = first_position(potential, num_chains, seed, init_strategy)
    with evaluation_mode(model):
        run = _Run(potential, kernel, start, warmup_steps, num_samples, seed, accumulate or {})
        identity = {} if path is None else run.identity()
        if path is not None and path.exists():
            run.resume(path, identity)
        total = warmup_steps + num_samples
        bar = tqdm(total=total, initial=run.step, unit="step", disable=not progress)
        with deferred_interrupt() as interrupt, bar:
            saved_at = time.monotonic()
            while run.step < total:
                bar.set_description("warmup" if run.step < warmup_steps else "sampling", False)
                info = run.advance()
                if progress and run.step % 10 == 0:
                    bar.set_postfix(run.postfix(info), refresh=False)
                bar.update()
                done = run.step == total
                due = time.monotonic() - saved_at >= checkpoint_seconds
                if path is not None and (done or due or interrupt.requested):
                    run.save(path, identity)
                    saved_at = time.monotonic()
                if interrupt.requested and not done:
                    raise KeyboardInterrupt(
                        f"stopped after step {run.step} of {total}; "
                        + (
                            "without checkpoint= the draws are lost"
                            if path is None
                            else f"everything is in {str(path)!r}: call again with it to go on"
                        )
                    )
        posterior = run.posterior()
    _warn_of_divergences(posterior.sample_stats["diverging"])
    return posterior


class _Run:
    """The state of a sampling run: c·n chains, chain-major, and the draws so far."""

    def __init__(
        self,
        potential: Potential,
        kernel: Kernel[Any],
        start: Float[Tensor, "n c d"],
        warmup_steps: int,
        num_samples: int,
        seed: int,
        accumulate: Mapping[str, Accumulator],
    ) -> None:
        n, c, d = start.shape
        self.step = 0
        self._potential = potential
        self._copies = potential.on(potential.data.repeat(c))
        self._kernel = kernel
        self._warmup_steps, self._num_samples, self._seed = warmup_steps, num_samples, seed
        self._accumulate = accumulate
        self._source = KeyedSource.of_chains(seed, torch.arange(n, device=start.device), c)
        self._state = kernel.init(start.transpose(0, 1).reshape(c * n, d), self._copies)
        self._adaptation = start_dual_averaging(self._state.step_size[:n])
        self._draws = start.new_empty(c, num_samples, n, d)
        self._stats = {
            "lp": start.new_empty(c, num_samples, n),
            "acceptance_rate": start.new_empty(c, num_samples, n),
            "energy_error": start.new_empty(c, num_samples, n),
            "diverging": start.new_empty((c, num_samples, n), dtype=torch.bool),
        }
        self._moments: dict[str, Moments] = {}
        self._num_gradients = 0
        self._seconds = 0.0

    @property
    def _shape(self) -> tuple[int, int]:
        return self._draws.shape[0], self._draws.shape[2]

    def advance(self) -> Info:
        """Make one step of every chain; keep the draw, or adapt in warmup."""
        began = time.monotonic()
        self._state, info = self._kernel.step(self._state, self._copies, self._source.at(self.step))
        if self.step < self._warmup_steps:
            last = self.step == self._warmup_steps - 1
            self._state, self._adaptation = adapt_in_warmup(
                self._kernel, self._state, self._adaptation, info, self._shape[0], last
            )
        else:
            self._keep(self.step - self._warmup_steps, info)
            self._num_gradients += info.num_gradients
            self._seconds += time.monotonic() - began
        self.step += 1
        return info

    def _keep(self, draw: int, info: Info) -> None:
        c, n = self._shape
        self._draws[:, draw] = self._state.position.reshape(c, n, -1)
        self._stats["lp"][:, draw] = -info.potential_energy.reshape(c, n)
        for name in ("acceptance_rate", "energy_error", "diverging"):
            self._stats[name][:, draw] = getattr(info, name).reshape(c, n)
        if not self._accumulate:
            return
        latents = self._constrained(draw)
        argument = next(iter(latents.values())) if len(latents) == 1 else latents
        with torch.no_grad():
            for name, function in self._accumulate.items():
                self._moments[name] = merge(self._moments.get(name), function(argument))

    def _constrained(self, draw: int) -> dict[str, Tensor]:
        c, n = self._shape
        latents = self._copies.unflatten(self._draws[:, draw].reshape(c * n, -1))
        return {name: value.reshape(c, n, *value.shape[1:]) for name, value in latents.items()}

    def postfix(self, info: Info) -> dict[str, str]:
        """Return what the progress bar shows."""
        drawn = max(self.step - self._warmup_steps, 0)
        return {
            "acceptance": f"{float(info.acceptance_rate.nanmean()):.2f}",
            "step": f"{float(self._state.step_size.median()):.3g}",
            "divergences": str(int(self._stats["diverging"][:, :drawn].sum())),
        }

    def posterior(self) -> Posterior:
        """Return the draws."""
        draws = [self._constrained(draw) for draw in range(self._num_samples)]
        n = self._draws.shape[2]
        return Posterior(
            samples={name: torch.stack([one[name] for one in draws], 1) for name in draws[0]},
            sample_stats={**self._stats, "step_size": self._state.step_size[:n]},
            accumulated=self._moments,
            observed=_observed(self._potential),
            position=self._draws,
            seconds=self._seconds,
            num_gradients=self._num_gradients,
            potential=self._potential,
        )

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        model, data = self._potential.model, self._potential.data
        return {
            "model": fingerprint(list(parameters_of(model, data).values())),
            "data": fingerprint(data.tensors()),
            "kernel": repr(self._kernel),
            "number of chains": self._shape[0],
            "warmup steps": self._warmup_steps,
            "number of samples": self._num_samples,
            "seed": self._seed,
            "accumulated": sorted(self._accumulate),
        }

    def save(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Write everything that going on takes; the noise is a function of the seed and step."""
        drawn = max(self.step - self._warmup_steps, 0)
        save_checkpoint(
            path,
            {
                "kind": "a sampling run",
                "identity": dict(identity),
                "step": self.step,
                "state": self._state._asdict(),
                "adaptation": self._adaptation._asdict(),
                "draws": self._draws[:, :drawn].clone(),
                "stats": {name: value[:, :drawn].clone() for name, value in self._stats.items()},
                "moments": {name: value._asdict() for name, value in self._moments.items()},
                "num_gradients": self._num_gradients,
                "seconds": self._seconds,
            },
        )

    def resume(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        names = ("step", "state", "adaptation", "draws", "stats", "moments")
        content = load_checkpoint(
            path, "a sampling run", identity, (*names, "num_gradients", "seconds")
        )
        self.step = content["step"]
        self._state = self._state._replace(**content["state"])
        self._adaptation = DualAveraging(**content["adaptation"])
        drawn = content["draws"].shape[1]
        self._draws[:, :drawn] = content["draws"]
        for name, value in content["stats"].items():
            self._stats[name][:, :drawn] = value
        self._moments = {name: Moments(**value) for name, value in content["moments"].items()}
        self._num_gradients = content["num_gradients"]
        self._seconds = content["seconds"]


def _observed(potential: Potential) -> dict[str, Tensor]:
    """Return the data under the names that ArviZ shows; a mask is written into them as NaN.

    The first argument bears the name of the observed site, where there is only one.
    """
    data, sites = potential.data, potential.layout.observed
    first = sites[0] if len(sites) == 1 else "data_0"
    named = {f"data_{i}" if i else first: v for i, v in enumerate(data.args) if torch.is_tensor(v)}
    named |= {k: v for k, v in data.kwargs.items() if torch.is_tensor(v) and k != "mask"}
    mask = data.kwargs.get("mask")
    if mask is not None and first in named:
        named[first] = torch.where(mask, named[first], torch.nan)
    return named


def _warn_of_divergences(diverging: Tensor) -> None:
    counts = diverging.sum((0, 1))
    if int(counts.sum()) > 0:
        worst = int(counts.argmax())
        warnings.warn(
            f"{int(counts.sum())} of {diverging.numel()} proposals diverged, in "
            f"{int((counts > 0).sum())} of {len(counts)} examples (most in example {worst}: "
            f"{int(counts[worst])}): their energy error was over 1000 nats or not finite. Warm up "
            "longer, or raise the kernel's target_acceptance",
            stacklevel=3,
        )
