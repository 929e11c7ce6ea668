"""Alternating back-propagation: infer the latents by a few MCMC steps, learn θ by one step."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from .arguments import check_positive, checked_integer, checked_seed
from .kernels.base import Kernel
from .kernels.capabilities import check_learning_kernel, gradients_per_step
from .kernels.mala import MALA
from .potentials.coordinates import log_volume_of
from .potentials.data import ExampleData, as_call
from .potentials.gradients import gradients
from .potentials.initialization import InitStrategy
from .potentials.keywords import keywords
from .potentials.potential import dtype_and_device, validate
from .potentials.threads import one_at_a_time
from .potentials.trace import Model, evaluation_mode
from .runs.chains import Chains
from .runs.checkpoint import check_folder, seed_of
from .runs.driver import drive
from .runs.epochs import Epochs, StopRule
from .runs.fit_checkpoint import fit_identity, resume_fit
from .runs.fit_plan import FitPlan
from .runs.fit_record import Fit, StepRecord, warn_of_divergences
from .runs.fit_run import FitRun
from .runs.held_out_cells import HoldOut
from .runs.horizon import warn_of_way_to_go
from .runs.last_draws import last_draws
from .runs.learner import OptimizerLike, SchedulerLike
from .runs.running_means import KeepMeans
from .runs.visit import visit
from .runs.weight_prior import Deviations, checked_deviations
from .speed import Compile, Precision, check_compile, check_precision, evaluator_for

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
        run of the model. By default :class:`RelativeAdam`, whose rate falls slowly for 60 % of the
        epochs and then linearly to zero.
    scheduler : callable, optional
        From the optimizer to a torch scheduler, which is stepped once an epoch; one that asks for
        a metric (``ReduceLROnPlateau``) gets the held-out energy, or else the epoch's loss.
    weight_prior : mapping, optional
        Standard deviations of normal priors over parameters, by patterns of names, the first that
        fits: ``{"network.*.weight": 1.0}``. θ goes to its posterior's mode; losses are without it.
    batch_size : int, optional
        Examples in a minibatch; by default a tenth of them, at least 10 and at most 100. A last one
        joins the batch before where batch normalisation in training mode cannot learn from it.
    num_chains : int, default 1
        Chains of each example (multiple imputation); θ's gradient is their mean.
    init_strategy : callable, optional
        Where chains start: one of ``pyro.infer.autoguide.initialization``. By default standard
        normal in unconstrained space, under ``Normal(d, learn=True)`` draws from it.
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
        what is fastest. A checkpoint keeps what was chosen, ``choices`` tells it.
    capture : bool, default True
        Evaluate the model by a graph of tensor operations that is captured from it, where the run
        is long enough to pay for it. The graph is compared with the model when it is made, after
        callbacks and every 256 evaluations. False runs the model through Pyro every time.

    Raises
    ------
    ValueError
        If a number is not positive, ``compile`` is neither of these, or not False with
        ``capture=False``, or the kernel is a ``ParallelTempering`` that adapts.

    Notes
    -----
    A model may take part in learning, as a ``GeneratorModel`` does: by ``log_normaliser(num_draws,
    seed)``, whose gradient in θ is added to the loss's (the constant of a density that is known up
    to it); where ``has_closed_form`` is true by ``closed_form_step(latents, *data)``, called after
    each step of θ; by ``latent_coordinates``: where chains start, what losses and energies are less
    by (:class:`~explainaway.inference.potentials.coordinates.Coordinates`).

    A second :meth:`fit` starts fresh chains and goes on from the parameters as they are. An
    optimizer that was handed over goes on with its state; one that is made by a callable is made
    anew, and so is the scheduler. For Robbins-Monro rates give a scheduler such as
    ``lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: (1 + epoch) ** -0.6)``.

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
        weight_prior: Deviations | None = None,
        batch_size: int | None = None,
        num_chains: int = 1,
        init_strategy: InitStrategy | None = None,
        average_from: int | None = None,
        chains_file: str | os.PathLike[str] | None = None,
        example_plate: str | None = None,
        compile: Compile = False,
        precision: Precision = "float32",
        capture: bool = True,
    ) -> None:
        if not callable(model):
            raise TypeError(f"model must be callable, a Pyro model, got {model!r}")
        check_compile(compile)
        check_precision(precision)
        evaluator_for(model, capture, compile)
        if average_from is not None:
            average_from = checked_integer("average_from, an epoch,", average_from, 0)
        kernel = MALA() if kernel is None else kernel
        check_learning_kernel(kernel)
        self.weight_prior = checked_deviations(weight_prior)
        self.model = model
        self.kernel: Kernel[Any] = kernel
        self.inference_steps = check_positive("inference_steps", inference_steps)
        self.batch_size = None if batch_size is None else check_positive("batch_size", batch_size)
        self.num_chains = check_positive("num_chains", num_chains)
        self.init_strategy = init_strategy
        self.average_from = average_from
        self.chains_file = None if chains_file is None else Path(chains_file)
        self.example_plate = example_plate
        self.compile = compile
        self.precision = precision
        self.capture = capture
        self._optimizer_like = optimizer
        self._scheduler_like = scheduler
        self._run: FitRun | None = None

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of θ, known once the model has run."""
        if self._run is None:
            raise RuntimeError("the optimizer is made on the first fit, start or step")
        return self._run.learner.optimizer

    @property
    def chains(self) -> Chains | None:
        """The chains of all examples, in unconstrained space; None before the start."""
        return None if self._run is None else self._run.chains

    @property
    def choices(self) -> dict[str, bool | str | None]:
        """What was set or found by timing: ``compile`` (None: not yet), ``precision``, more."""
        if self._run is None:
            raise RuntimeError("choices are made on the first fit or start")
        return self._run.chosen.to_dict()

    @one_at_a_time
    @gradients
    def start(
        self,
        *data: Any,
        mask: Any = None,
        context: Any = None,
        ids: Any = None,
        seed: int | None = 0,
        **more: Any,
    ) -> None:
        """Check the model and the data and place a fresh chain for each example.

        :meth:`fit` does this by itself; a loop of one's own calls it before :meth:`step`.

        Parameters
        ----------
        *data, mask, context, ids, **more
            As in :meth:`fit`; all examples, so that ``step`` finds their chains by index.
        seed : int or None, default 0
            Reproduces the run. None takes one by chance.

        Raises
        ------
        ValueError
            As :meth:`fit`.
        """
        seed = checked_seed(seed)
        examples = self._checked((data, keywords("start", self.model, mask, context, more)))
        self._run = self._begun(examples, seed, ids=ids)

    def _examples(self, given: tuple[tuple[Any, ...], dict[str, Any]]) -> ExampleData:
        return ExampleData.of(*given, *dtype_and_device(self.model))

    def _checked(self, given: tuple[tuple[Any, ...], dict[str, Any]]) -> ExampleData:
        examples = self._examples(given)
        validate(self.model, examples)
        return examples

    def _begun(self, examples: ExampleData, seed: int, **more: Any) -> FitRun:
        if self._run is not None:
            self._run.chosen.release(self._run.potential)
        plan = FitPlan.of(self, self._optimizer_like, self._scheduler_like)
        return plan.begin(examples, seed, **more)

    def _settings(self) -> dict[str, Any]:
        """Return what a checkpoint's loop must agree with."""
        return {
            "kernel": repr(self.kernel),
            "weight prior": self.weight_prior,
            "inference steps": self.inference_steps,
            "batch size": self.batch_size,
            "number of chains": self.num_chains,
            "average from": self.average_from,
            "chains in a file": self.chains_file is not None,
        }

    @one_at_a_time
    @gradients
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
            If the batch and the index differ in size. The first batch with arguments of these names
            and shapes is checked as :meth:`fit` does; later ones are not, which takes time.
        """
        run = self._run
        if run is None:
            raise RuntimeError("call start(...) with all data before step: it places the chains")
        if isinstance(batch, ExampleData):
            examples = batch
        else:
            examples = self._examples(as_call(batch))
            run.potential.evaluator.look()
            if (form := examples.form()) not in run.forms:
                validate(self.model, examples)
                run.forms.add(form)
        if index.shape != (examples.num_examples,):
            raise ValueError(
                f"index must have shape ({examples.num_examples},), one for each example of the "
                f"batch, got {tuple(index.shape)}"
            )
        index = index.to(examples.device)
        potential = run.potential.on(examples.repeat(self.num_chains))
        volume = log_volume_of(self.model)
        # Inferential back-propagation: some steps of each chain, θ fixed.
        with evaluation_mode(self.model):
            inferred = visit(
                run.chains, index, potential, self.kernel, self.inference_steps, run.seed
            )
        # Learning back-propagation: one step of θ, the latents fixed.
        loss = run.learner.step(
            potential, inferred.position, examples.num_examples, run.seed_of_learning
        )
        run.progress.iteration += 1
        return StepRecord(
            loss - volume,
            inferred.energy - volume,
            inferred.acceptance_rate,
            run.chains.step_size[index].median(),
            inferred.num_diverging,
        )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the mean of θ into the model, and the last iterate back afterwards.

        ``with abp.averaged(): torch.save(model.state_dict(), ...)``

        Raises
        ------
        RuntimeError
            If nothing has been averaged: ``average_from`` was not given, or not reached.
        """
        if self._run is None or self._run.learner.average.count == 0:
            raise RuntimeError(
                f"nothing has been averaged yet: average_from is {self.average_from}"
            )
        with self._run.learner.average.put_into(self._run.learner.parameters):
            yield

    @one_at_a_time
    @gradients
    def fit(
        self,
        *data: Any,
        mask: Any = None,
        context: Any = None,
        ids: Any = None,
        latents: Any = None,
        epochs: int | Literal["auto"] = "auto",
        seed: int | None = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 60.0,
        validation: Batch | None = None,
        callbacks: Iterable[Callable[["AlternatingBackProp", dict[str, float]], None]] = (),
        stop: StopRule | None = None,
        progress: bool = True,
        hold_out: HoldOut = "auto",
        posterior_means: KeepMeans = "auto",
        **more: Any,
    ) -> Fit:
        """Learn from data.

        Parameters
        ----------
        *data : Tensor, array, Dataset or DataLoader
            The model's arguments; each leads with the example. For a ``GeneratorModel`` under
            ``Masked`` NaN means not observed.
        mask : bool Tensor, optional
            Of y's shape, true where observed; handed to the model by that name.
        ids : sequence of int, optional
            As in :func:`sample_posterior`: a number for each example, to which its noise belongs.
        context : dict of Tensor, optional
            Example-first tensors, handed to the model by that name.
        latents : Fit, Tensor or dict of Tensor, optional
            Where the chains start, as in :attr:`Fit.latents`: an earlier fit of the same examples
            goes on, apart from its step sizes. By default they start from noise.
        epochs : int or "auto", default "auto"
            Passes through the data. ``"auto"``: until going on gains nothing that is seen
            (``Fit.gain``) or held-out cells are explained no better, or 600, and two thirds as many
            in which the rate falls to zero, that of an ``optimizer`` too unless a ``scheduler`` is
            given.
        seed : int or None, default 0
            Reproduces the run, bit for bit on one machine with one thread count. None takes one by
            chance, or a checkpoint's: ``Fit.seed``.
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
        hold_out : "auto", float or None, default "auto"
            Share of the observed cells under ``Masked`` that only the last 20 % of the epochs learn
            from (docs/held_out_cells.md); ``"auto"``: 2 to 5 % where there are enough.
        posterior_means : bool or "auto", default "auto"
            Whether to keep ``Fit.mean_signal`` and ``Fit.filled``; ``"auto"``: of a
            ``GeneratorModel`` without a ``chains_file``.
        **more
            Further keyword arguments that the model takes; tensors lead with the example.

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
        epochs = epochs if epochs == "auto" else check_positive("epochs", epochs)
        path = None if checkpoint is None else check_folder(checkpoint, "checkpoint")
        seed = seed_of(seed, path)
        latents = latents.latents if isinstance(latents, Fit) else latents
        examples = self._checked((data, keywords("fit", self.model, mask, context, more)))
        held_out = None if validation is None else self._checked(as_call(validation))
        resumes = path is not None and path.exists()
        self._run = run = self._begun(
            examples,
            seed,
            resumes=resumes,
            held_out=held_out,
            has_checkpoint=path is not None,
            ids=ids,
            latents=latents,
            epochs=epochs,
            hold_out=hold_out,
            posterior_means=posterior_means,
        )
        identity = {} if path is None else fit_identity(run, examples, self._settings())
        if path is not None and resumes:
            resume_fit(run, path, identity)
        is_named = self._optimizer_like is not None
        rate_falls = self._scheduler_like is None and (epochs == "auto" or not is_named)
        run.progress.plan(epochs, rate_falls)
        callbacks = list(callbacks)

        def tell(record: dict[str, float]) -> None:
            for callback in callbacks:
                callback(self, record)
                # It had the model in hands.
                run.potential.evaluator.doubt()

        work = Epochs(
            run=run,
            examples=examples,
            rate_falls=rate_falls,
            batch_size=run.batch_size,
            num_steps=self.inference_steps,
            kernel=self.kernel,
            average_from=self.average_from,
            step=self.step,
            tell=tell,
            stop=stop,
            identity=identity,
        )
        iterations = work.num_iterations
        steps = self.inference_steps * gradients_per_step(self.kernel)
        run.potential.evaluator.expect({"energy": iterations * (steps + 1), "loss": iterations})
        try:
            drive(work, path, checkpoint_seconds, progress)
        finally:
            run.stretches.close()
        warn_of_divergences(run.progress.history)
        learner, average = run.learner, run.learner.average
        if not run.progress.horizon.is_of_held_out:
            gain, slope = learner.travel.gain(), learner.score_test.last
            warn_of_way_to_go(gain, slope, run.progress.epoch)
        return Fit(
            last_draws(run.chains, run.potential, examples, run.batch_size),
            run.progress.history,
            dict(average.mean) if average.count else None,
            run.progress.stopped,
            seed,
            **run.stretches.results(),
        )
