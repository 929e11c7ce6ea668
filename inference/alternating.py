"""Alternating back-propagation: infer the latents by a few MCMC steps, learn θ by one step."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .arguments import check_positive
from .kernels.base import Kernel
from .kernels.capabilities import check_kernel, has_replicas
from .kernels.mala import MALA
from .potentials.checks import check_optimizer, check_parameters, check_uncoupled, leaves_of
from .potentials.data import ExampleData
from .potentials.initialization import InitStrategy, first_position
from .potentials.potential import Potential, dtype_and_device, validate
from .potentials.trace import Model, evaluation_mode, parameters_of, read_layout, seeded
from .runs.averaging import ParameterAverage
from .runs.chains import Chains
from .runs.checkpoint import check_folder, check_new_file, fingerprint
from .runs.default_optimizer import default_optimizer
from .runs.fit_checkpoint import FitState
from .runs.fit_record import (
    Fit,
    Progress,
    StepRecord,
    epoch_order,
    how_to_go_on,
    postfix,
    warn_of_divergences,
)
from .runs.interrupt import deferred_interrupt
from .runs.visit import visit
from .speed.captures import Captures
from .speed.compile_choice import Compile, CompileChoice, check_compile
from .speed.precision import (
    Arithmetic,
    Precision,
    check_precision,
    chosen_arithmetic,
    with_arithmetic,
)

OptimizerLike = torch.optim.Optimizer | Callable[[list[Tensor]], torch.optim.Optimizer]
SchedulerLike = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
StopRule = Callable[[Mapping[str, Sequence[float]]], bool]
Batch = Tensor | tuple[Any, ...] | Mapping[str, Any] | ExampleData


class AlternatingBackProp:
    """Learn a generator network, or any Pyro model with an example plate, by explaining away.

    Each iteration takes a minibatch and (1) *infers*: moves the warm-started chain of each of its
    examples ``inference_steps`` steps by the kernel; (2) *learns*: one optimizer step on the mean
    of ``-log p(y, z; θ)`` at the sampled latents. By Fisher's identity that is stochastic
    approximation of the maximum likelihood (Younes 1999).

    Inference runs an ``nn.Module`` in evaluation mode, learning in the mode it was given in, so
    that batch normalisation learns from batch statistics and infers with running ones.

    Parameters
    ----------
    model : callable
        A :class:`~explainaway.models.GeneratorModel` or any Pyro model whose data lead with the
        example.
    kernel : Kernel, default MALA()
        Moves the latents; ``Langevin(step_size=0.1)`` is the paper's.
    inference_steps : int, default 10
        Kernel steps at each visit.
    optimizer : Optimizer or callable, optional
        A torch optimizer, or a callable from the list of parameters to one, called after the first
        run of the model. By default Adam with learning rate 1e-3.
    scheduler : callable, optional
        From the optimizer to a torch scheduler, which is stepped once an epoch.
    batch_size : int, default 100
        Examples in a minibatch.
    num_chains : int, default 1
        Chains of each example (multiple imputation); θ's gradient is their mean.
    init_strategy : callable, optional
        Where chains start: one of ``pyro.infer.autoguide.initialization``. By default standard
        normal in unconstrained space.
    average_from : int, optional
        Epoch, counted from 0, from which the mean of θ over the iterations is kept
        (Polyak-Ruppert): ``fit.averaged``, and :meth:`averaged` to use it. What is not learned by
        the optimizer, such as running statistics, stays as it is.
    chains_file : path, optional
        A new file to keep the chains' positions in instead of memory, for many examples with many
        latents; only a batch's own are read and written.
    example_plate : str, optional
        Name of the plate over examples, where it is not the only one.
    compile : bool or "auto", default False
        Compile a visit's kernel steps, with their noise and acceptance, as one function and the
        gradient of θ as another by TorchInductor, which needs a C++ compiler and takes half a
        minute or so; torch keeps the result on disk. ``"auto"`` does so in a :meth:`fit` that is
        long enough to pay for it, and goes back if timing shows it to be slower. A run that is
        killed and resumed gives the same up to rounding then, instead of the same bits.
    precision : "float32", "bfloat16" or "auto", default "float32"
        Of the network's matrix products and convolutions, by torch's autocast; energies are added
        up in the model's own precision. ``"float32"`` leaves the model as it is; ``"auto"`` times
        a few evaluations, also with the weights of convolutions stored channels last, and takes
        what is fastest. A checkpoint keeps what was chosen.

    Raises
    ------
    ValueError
        If a number is not positive, ``compile`` is neither of these, or the kernel is a
        ``ParallelTempering`` that adapts.

    Notes
    -----
    A model may take part in learning by two members, as a ``GeneratorModel`` does:
    ``log_normaliser(num_draws, seed)``, a scalar whose gradient in θ is added to the loss's (the
    constant of a density that is known up to it), and, where ``has_closed_form`` is true,
    ``closed_form_step(latents, *data)``, which is called after each step of θ.

    A second :meth:`fit` starts fresh chains and goes on from the parameters as they are. An
    optimizer that was handed over goes on with its state, as everywhere in torch; one that is made
    by a callable is made anew, and so is the scheduler. For Robbins-Monro rates give a scheduler
    such as ``lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: (1 + epoch) ** -0.6)``.

    References
    ----------
    Han, Lu, Zhu & Wu, "Alternating Back-Propagation for Generator Network" (AAAI 2017),
    algorithm 1; Younes, "On the convergence of Markovian stochastic algorithms with rapidly
    decreasing ergodicity rates" (1999).
    """

    def __init__(
        self,
        model: Model,
        kernel: Kernel[Any] | None = None,
        *,
        inference_steps: int = 10,
        optimizer: OptimizerLike | None = None,
        scheduler: SchedulerLike | None = None,
        batch_size: int = 100,
        num_chains: int = 1,
        init_strategy: InitStrategy | None = None,
        average_from: int | None = None,
        chains_file: str | os.PathLike[str] | None = None,
        example_plate: str | None = None,
        compile: Compile = False,
        precision: Precision = "float32",
    ) -> None:
        if not callable(model):
            raise TypeError(f"model must be callable, a Pyro model, got {model!r}")
        for name, value in (
            ("inference_steps", inference_steps),
            ("batch_size", batch_size),
            ("num_chains", num_chains),
        ):
            check_positive(name, value)
        check_compile(compile)
        check_precision(precision)
        if average_from is not None and (not isinstance(average_from, int) or average_from < 0):
            raise ValueError(f"average_from must be an epoch, 0 or later, got {average_from!r}")
        kernel = MALA() if kernel is None else kernel
        check_kernel(kernel)
        if has_replicas(kernel) and kernel.step_size == "auto":
            raise ValueError(
                "kernel must adapt from visit to visit, and the loop keeps no replicas of a chain: "
                "learn with HMC() and sample with ParallelTempering afterwards, or give it a fixed "
                "step_size"
            )
        self.model = model
        self.kernel: Kernel[Any] = kernel
        self.inference_steps = inference_steps
        self.batch_size = batch_size
        self.num_chains = num_chains
        self.init_strategy = init_strategy
        self.average_from = average_from
        self.chains_file = None if chains_file is None else Path(chains_file)
        self.example_plate = example_plate
        self.compile = compile
        self.precision = precision
        self.chains: Chains | None = None
        self._average = ParameterAverage()
        self._optimizer_like = optimizer
        self._scheduler_like = scheduler
        self._optimizer: torch.optim.Optimizer | None = None
        self._scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
        self._parameters: dict[str, Tensor] = {}
        self._learned: list[Tensor] = []
        self._compile_choice: CompileChoice | None = None
        self._arithmetic = Arithmetic()
        self._potential: Potential | None = None
        self._seed = 0
        self._iteration = 0
        self._averages = False

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of θ, known once the model has run."""
        if self._optimizer is None:
            raise RuntimeError("the optimizer is made on the first fit, start or step")
        return self._optimizer

    def start(self, *data: Any, mask: Any = None, context: Any = None, seed: int = 0) -> None:
        """Check the model and the data and place a fresh chain for each example.

        :meth:`fit` does this by itself; whoever writes their own loop calls it before
        :meth:`step`.

        Parameters
        ----------
        *data, mask, context
            As in :meth:`fit`; all examples, so that ``step`` finds their chains by index.
        seed : int, default 0
            Reproduces the run.

        Raises
        ------
        ValueError
            As :meth:`fit`.
        """
        examples = self._examples((data, {"mask": mask, "context": context}))
        validate(self.model, examples)
        self._start(examples, seed, resumes=False)

    def _examples(self, given: tuple[tuple[Any, ...], dict[str, Any]]) -> ExampleData:
        return ExampleData.of(*given, *dtype_and_device(self.model))

    def _start(self, examples: ExampleData, seed: int, resumes: bool) -> None:
        first = torch.arange(min(self.batch_size, examples.num_examples))
        first = first.to(examples.tensors()[0].device)
        head = examples.select(first)
        layout = read_layout(self.model, head, self.example_plate)
        captures = Captures()
        self._compile_choice = CompileChoice(self.compile, captures)
        self._potential = Potential(self.model, head, layout, captures=captures)
        self._parameters = parameters_of(self.model, head)
        self.chains = self._first_chains(examples, seed, resumes)
        check_uncoupled(self._potential, self.chains.position[first, 0])
        with evaluation_mode(self.model):
            self._use(
                chosen_arithmetic(self.precision, self._potential, self.chains.position[first, 0])
            )
        self._make_optimizer(self.chains.position[first, 0])
        self._average = ParameterAverage()
        self._seed = seed
        self._iteration = 0

    def _use(self, arithmetic: Arithmetic) -> None:
        assert self._potential is not None
        if self._arithmetic.channels_last and isinstance(self.model, nn.Module):
            self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._arithmetic = arithmetic
        self._potential = with_arithmetic(self._potential, arithmetic)

    def _first_chains(self, examples: ExampleData, seed: int, resumes: bool) -> Chains:
        assert self._potential is not None
        potential, n, c = self._potential, examples.num_examples, self.num_chains
        if self.chains_file is None:
            position = first_position(potential.on(examples), c, seed, self.init_strategy)
            return Chains.start(position, self.kernel)
        check_new_file(self.chains_file, "chains_file", resumes)
        chains = Chains.mapped(self.chains_file, (n, c, potential.latent_dim), self.kernel)
        for index in torch.arange(n).split(10_000):
            some = potential.on(examples.select(index))
            chains.position[index] = first_position(some, c, seed, self.init_strategy, index)
        return chains

    def _make_optimizer(self, position: Tensor) -> None:
        assert self._potential is not None
        with evaluation_mode(self.model):
            loss = self._potential.loss(position)
        check_parameters(loss, self._parameters)
        like = self._optimizer_like or default_optimizer
        optimizer = (
            like
            if isinstance(like, torch.optim.Optimizer)
            else like(list(self._parameters.values()))
        )
        check_optimizer(loss, self._parameters, optimizer)
        self._learned = leaves_of(loss)
        self._optimizer = optimizer
        if self._scheduler_like is not None:
            self._scheduler = self._scheduler_like(optimizer)

    def step(self, batch: Batch, index: Tensor) -> StepRecord:
        """Infer and learn once: the body of the loop, for people who write their own.

        Parameters
        ----------
        batch : Tensor, tuple or dict
            The model's arguments for b examples: one tensor, a tuple of positional or a dict of
            keyword arguments.
        index : int64 Tensor, (b,)
            Which examples they are: their chains go on from where they stopped.

        Returns
        -------
        StepRecord

        Raises
        ------
        RuntimeError
            If :meth:`start` has not been called.
        ValueError
            If the batch and the index differ in size.
        """
        if self.chains is None or self._potential is None:
            raise RuntimeError("call start(...) with all data before step: it places the chains")
        examples = batch if isinstance(batch, ExampleData) else self._examples(_as_call(batch))
        if index.shape != (examples.num_examples,):
            raise ValueError(
                f"index must have shape ({examples.num_examples},), one for each example of the "
                f"batch, got {tuple(index.shape)}"
            )
        potential = self._potential.on(examples.repeat(self.num_chains))
        with evaluation_mode(self.model):
            moved = visit(
                self.chains, index, potential, self.kernel, self.inference_steps, self._seed
            )
        optimizer = self.optimizer
        optimizer.zero_grad(set_to_none=True)
        # What is random in the θ step (dropout) depends on nothing but the seed and the iteration.
        learned = [parameter for parameter in self._learned if parameter.requires_grad]
        with seeded(self._seed + 1_000_003 * (self._iteration + 1)):
            loss, gradients = potential.loss_and_gradients(moved.position, learned)
        gradients = self._with_normaliser(learned, gradients, examples.num_examples)
        for parameter, gradient in zip(learned, gradients, strict=True):
            if gradient.stride() != parameter.stride():
                # As autograd would leave it: an optimizer is slow on a transposed gradient.
                gradient = torch.empty_like(parameter).copy_(gradient)
            parameter.grad = gradient
        optimizer.step()
        if getattr(self.model, "has_closed_form", False):
            latents = potential.unflatten(moved.position)
            self.model.closed_form_step(latents, *potential.data.args, **potential.data.kwargs)  # type: ignore[attr-defined]
        self._iteration += 1
        if self._averages:
            self._average.add(self._parameters)
        return StepRecord(
            loss,
            moved.energy,
            moved.acceptance_rate,
            self.chains.step_size[index].median(),
            moved.num_diverging,
        )

    def _with_normaliser(
        self, learned: list[Tensor], gradients: list[Tensor], num_draws: int
    ) -> list[Tensor]:
        """Add the gradient of a normalising constant that the model's energy leaves out."""
        log_normaliser = getattr(self.model, "log_normaliser", None)
        if log_normaliser is None:
            return gradients
        value = log_normaliser(num_draws, self._seed + 1_000_003 * (self._iteration + 1))
        if value is None:
            return gradients
        more = torch.autograd.grad(value, learned, allow_unused=True)
        return [g if m is None else g + m for g, m in zip(gradients, more, strict=True)]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the mean of θ into the model, and the last iterate back afterwards.

        ``with abp.averaged(): torch.save(model.state_dict(), ...)``

        Raises
        ------
        RuntimeError
            If nothing has been averaged: ``average_from`` was not given, or not reached.
        """
        if self._average.count == 0:
            raise RuntimeError(
                f"nothing has been averaged yet: average_from is {self.average_from}"
            )
        with self._average.put_into(self._parameters):
            yield

    def fit(
        self,
        *data: Any,
        mask: Any = None,
        context: Any = None,
        epochs: int,
        seed: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 60.0,
        validation: Batch | None = None,
        callbacks: Iterable[Callable[["AlternatingBackProp", dict[str, float]], None]] = (),
        stop: StopRule | None = None,
        progress: bool = True,
    ) -> Fit:
        """Learn from data.

        Parameters
        ----------
        *data : Tensor, array, Dataset or DataLoader
            The model's arguments; each leads with the example. For a ``GeneratorModel`` under
            ``Masked`` NaN means not observed.
        mask : bool Tensor, optional
            Of y's shape, true where observed; handed to the model by that name.
        context : dict of Tensor, optional
            Example-first tensors, handed to the model by that name.
        epochs : int
            Passes through the data.
        seed : int, default 0
            Reproduces the run, bit for bit on one machine with one thread count.
        checkpoint : path, optional
            File to keep the run in. If it exists, the run goes on from it, and ends with the same
            bits as one that was never stopped; a higher ``epochs`` prolongs it. Ctrl-C leaves it
            in order.
        checkpoint_seconds : float, default 60
            Least time between two writings of it.
        validation : Tensor, tuple or dict, optional
            Held-out examples, as for :meth:`step`: their chains move along, θ does not see them.
        callbacks : iterable of callable
            Each is called after an epoch with this object and the epoch's record.
        stop : callable, optional
            From the history so far to whether to stop, asked after each epoch: ``NoProgress()``.
        progress : bool, default True
            Show a progress bar.

        Returns
        -------
        Fit

        Raises
        ------
        ValueError
            If data, model, optimizer or checkpoint do not fit, before any long work starts.
        FileNotFoundError
            If the checkpoint's folder does not exist.
        KeyboardInterrupt
            After Ctrl-C, between two iterations; the message says how to go on.
        """
        check_positive("epochs", epochs)
        path = None if checkpoint is None else check_folder(checkpoint, "checkpoint")
        examples = self._examples((data, {"mask": mask, "context": context}))
        validate(self.model, examples)
        self._start(examples, seed, resumes=path is not None and path.exists())
        held_out = None
        if validation is not None:
            held_out = self._examples(_as_call(validation))
            validate(self.model, held_out)
        run = Progress()
        compile_choice = self._compile_choice
        assert compile_choice is not None
        identity = self._identity(examples, seed) if path is not None else {}
        held_out_chains = None if held_out is None else self._start_validation(held_out, seed)
        if path is not None and path.exists():
            run = self._state(held_out_chains).resume(path, identity)
            self._iteration = run.iteration
            compile_choice.resume(run.compiles)
            if self.precision == "auto" and run.arithmetic is not None:
                self._use(Arithmetic.named(run.arithmetic))
        with deferred_interrupt() as interrupt:
            saved_at = time.monotonic()
            bar = self._bar(run, epochs, examples.num_examples, progress)
            device = examples.tensors()[0].device
            batches: tuple[Tensor, ...] = ()
            while run.epoch < epochs and not run.stopped:
                began = time.monotonic()
                self._averages = self.average_from is not None and run.epoch >= self.average_from
                if run.batch == 0 or not batches:
                    order = epoch_order(examples.num_examples, seed, run.epoch).to(device)
                    batches = order.split(self.batch_size)
                index = batches[run.batch]
                record = self.step(examples.select(index), index)
                left = (epochs - run.epoch) * len(batches) - run.batch - 1
                compile_choice.after_iteration(time.monotonic() - began, left)
                run.compiles = compile_choice.decided
                run.arithmetic = str(self._arithmetic)
                run.add(record, len(index))
                run.iteration = self._iteration
                if run.batch == len(batches):
                    proposals = examples.num_examples * self.num_chains * self.inference_steps
                    epoch_record = run.close_epoch(examples.num_examples, proposals)
                    if self._scheduler is not None:
                        self._scheduler.step()
                    if held_out is not None and held_out_chains is not None:
                        energy = self._validate(held_out, held_out_chains, seed)
                        epoch_record["validation_energy"] = energy
                    run.seconds += time.monotonic() - began
                    epoch_record["seconds"] = run.seconds
                    for name, value in epoch_record.items():
                        run.history.setdefault(name, []).append(value)
                    bar.set_postfix(postfix(epoch_record), refresh=False)
                    for callback in callbacks:
                        callback(self, epoch_record)
                    run.stopped = stop is not None and stop(run.history)
                else:
                    run.seconds += time.monotonic() - began
                bar.update()
                done = run.epoch == epochs or run.stopped
                due = time.monotonic() - saved_at >= checkpoint_seconds
                if path is not None and (done or due or interrupt.requested):
                    self._state(held_out_chains).save(path, identity, run)
                    saved_at = time.monotonic()
                if interrupt.requested and not done:
                    bar.close()
                    raise KeyboardInterrupt(how_to_go_on(path, run.epoch, epochs))
            bar.close()
        warn_of_divergences(run.history)
        averaged = dict(self._average.mean) if self._average.count else None
        return Fit(self._latents(examples), run.history, averaged, run.stopped)

    def _bar(self, run: Progress, epochs: int, num_examples: int, progress: bool) -> Any:
        per_epoch = -(-num_examples // self.batch_size)
        return tqdm(
            total=epochs * per_epoch,
            initial=run.epoch * per_epoch + run.batch,
            desc="learning",
            unit="batch",
            disable=not progress,
        )

    def _start_validation(self, held_out: ExampleData, seed: int) -> Chains:
        assert self._potential is not None
        potential = self._potential.on(held_out)
        return Chains.start(
            first_position(potential, self.num_chains, seed + 1, self.init_strategy), self.kernel
        )

    def _validate(self, held_out: ExampleData, chains: Chains, seed: int) -> float:
        assert self._potential is not None
        total = 0.0
        index = torch.arange(held_out.num_examples, device=chains.position.device)
        with evaluation_mode(self.model):
            for part in index.split(self.batch_size):
                potential = self._potential.on(held_out.select(part).repeat(self.num_chains))
                moved = visit(chains, part, potential, self.kernel, self.inference_steps, seed + 1)
                total += float(moved.energy) * len(part)
        return total / held_out.num_examples

    def _latents(self, examples: ExampleData) -> Any:
        assert self._potential is not None
        assert self.chains is not None
        sites = self._potential.layout.sites
        if self.chains_file is not None and len(sites) == 1 and sites[0].is_real:
            # A view of the file: what does not fit into memory shall not be loaded.
            by_chain = self.chains.position.transpose(0, 1).unflatten(2, sites[0].shape or (1,))
            by_chain = by_chain if sites[0].shape else by_chain[..., 0]
            return by_chain[0] if self.num_chains == 1 else by_chain
        parts: list[dict[str, Tensor]] = []
        index = torch.arange(examples.num_examples, device=self.chains.position.device)
        with evaluation_mode(self.model):
            for part in index.split(self.batch_size):
                potential = self._potential.on(examples.select(part).repeat(self.num_chains))
                flat = self.chains.position[part].transpose(0, 1).flatten(0, 1)
                parts.append(
                    {
                        name: value.reshape(self.num_chains, len(part), *value.shape[1:])
                        for name, value in potential.unflatten(flat).items()
                    }
                )
        latents = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
        if self.num_chains == 1:
            latents = {name: value[0] for name, value in latents.items()}
        return next(iter(latents.values())) if len(latents) == 1 else latents

    def _identity(self, examples: ExampleData, seed: int) -> dict[str, Any]:
        assert self._potential is not None
        return {
            "parameters": {name: list(p.shape) for name, p in self._parameters.items()},
            "latent sites": {site.name: list(site.shape) for site in self._potential.layout.sites},
            "data": fingerprint(examples.tensors()),
            "seed": seed,
            "kernel": repr(self.kernel),
            "inference steps": self.inference_steps,
            "batch size": self.batch_size,
            "number of chains": self.num_chains,
            "optimizer": type(self.optimizer).__name__,
            "average from": self.average_from,
            "chains in a file": self.chains_file is not None,
        }

    def _state(self, held_out: Chains | None) -> FitState:
        assert self.chains is not None
        return FitState(
            self.model,
            self._parameters,
            self.optimizer,
            self._scheduler,
            self.chains,
            self.chains_file,
            self._average,
            held_out,
        )


def _as_call(batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, ExampleData):
        return batch.args, dict(batch.kwargs)
    if isinstance(batch, Mapping):
        return (), dict(batch)
    return (batch if isinstance(batch, tuple) else (batch,)), {}
