"""Sampling the posterior of many examples, every chain of each in one batch."""

import os
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .arguments import check_positive, checked_ids, checked_integer
from .binding import Shared, bound_to
from .kernels.base import Kernel
from .kernels.capabilities import check_kernel
from .kernels.hmc import HMC
from .posterior import Posterior
from .potentials.checks import check_uncoupled
from .potentials.gradients import gradients
from .potentials.initialization import InitStrategy, first_position
from .potentials.keywords import keywords
from .potentials.threads import one_at_a_time
from .potentials.trace import Model, evaluation_mode
from .runs.checkpoint import check_folder, seed_of
from .runs.chunks import sample
from .runs.draw_store import free_file
from .runs.plan import Accumulator, Plan
from .speed import Chosen, Compile, Precision, check_compile, check_precision, evaluator_for

MOST_COMPARED = 100
"""Examples among which it is looked for some that depend on each other."""


@one_at_a_time
@gradients
def sample_posterior(
    model: Model,
    *data: Any,
    kernel: Kernel[Any] | None = None,
    num_chains: int = 4,
    warmup_steps: int = 300,
    num_samples: int = 1500,
    thinning: int = 1,
    seed: int | None = 0,
    mask: Any = None,
    context: Any = None,
    ids: Any = None,
    accumulate: Mapping[str, Accumulator] | None = None,
    init_strategy: InitStrategy | None = None,
    tuning: Mapping[str, Tensor] | None = None,
    chunk_size: int | None = None,
    draws_file: str | os.PathLike[str] | None = None,
    example_plate: str | None = None,
    shared: Shared | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    compile: Compile = False,
    precision: Precision = "float32",
    capture: bool = True,
    progress: bool = True,
    **more: Any,
) -> Posterior:
    """Sample the latents of every example, every chain in one batch, θ fixed.

    Parameters
    ----------
    model : callable
        A :class:`~explainaway.models.GeneratorModel` or any Pyro model, with a plate over examples
        or as one example (see ``shared``); an ``nn.Module`` is run in evaluation mode.
    *data : Tensor, array, Dataset or DataLoader
        As for :meth:`AlternatingBackProp.fit`.
    kernel : Kernel, default HMC()
        Moves the chains.
    num_chains : int, default 4
        Chains of each example, from dispersed starts.
    warmup_steps : int, default 300
        Steps that are thrown away; in them the kernel adapts its step size and mass, for each
        example by itself, pooled over its chains. Frozen afterwards. In the first 15 % (at most 75)
        the likelihood's weight rises from nothing to one, so that chains from dispersed starts find
        the same modes; not with an ``init_strategy``, a fixed step size, or under 40 steps.
    num_samples : int, default 1500
        Draws of each chain that are kept.
    thinning : int, default 1
        Steps for each draw that is kept.
    seed : int or None, default 0
        Reproduces the draws. None takes one by chance, or a checkpoint's: ``posterior.seed``.
    mask, context : optional
        Handed to the model by these names.
    ids : sequence of int, optional
        A number for each example, to which its noise belongs; no two the same. With it an example's
        draws do not depend on which others are sampled with it, nor on their order, up to rounding.
        By default its place: 0, 1, ...
    accumulate : mapping of callable, optional
        From a name to a function of the constrained latents (those of one site, or a dict),
        (chains, n, ...), giving (chains, n, ...): its posterior mean and variance are computed
        on the way, without keeping its values. ``{"image": model.decode}``. Under ``chunk_size``
        it sees the examples of a chunk at a time.
    init_strategy : callable, optional
        Where chains start: one of ``pyro.infer.autoguide.initialization``. By default standard
        normal in unconstrained space, under ``Normal(d, learn=True)`` draws from it. A trained
        guide's median starts there: ``init_to_value(values=guide.median(y))``.
    tuning : mapping of Tensor, optional
        What an earlier warmup found: ``posterior.tuning`` for the same examples,
        ``posterior.typical_tuning()`` for others. Warmup goes on from it; it may be 0 then.
    chunk_size : int, optional
        Most chains that run at once, to bound memory; the chains of one example stay together. The
        draws are the same up to rounding. By default all run at once.
    draws_file : path, optional
        A NetCDF file to keep the draws in instead of memory, for more draws than that holds.
        ``xarray`` and ArviZ open it; the posterior's tensors are views of it. When sampling has
        ended it has all that :meth:`Posterior.save` writes but deterministic sites, and
        :meth:`Posterior.load` goes on from it.
    example_plate : str, optional
        Name of the plate over examples, where it is not the only one.
    shared : "sample", optional
        Take the whole model as one example: what is outside the plate over examples, which all of
        them share, is sampled jointly with what is inside. A model that has no latent in a plate
        is taken so anyway. Data then need not lead with an example, and draws are (chains, draws,
        1, ...).
    checkpoint : path, optional
        File to keep the run in. If it exists, the run goes on from it, in warmup too, and ends
        with the same bits as one that was never stopped. Ctrl-C leaves it in order.
    checkpoint_seconds : float, default 60
        Least time between two writings of it.
    compile : bool or "auto", default False
        As for :class:`AlternatingBackProp`: compile each step, or for ``"auto"`` only where the
        run is long enough.
    precision : "float32", "bfloat16" or "auto", default "float32"
        As for :class:`AlternatingBackProp`. With ``"bfloat16"`` the chains' stationary distribution
        is that of the rounded energies, whose relative error is about 2⁻⁸ of a signal.
    capture : bool, default True
        As for :class:`AlternatingBackProp`.
    progress : bool, default True
        Show a progress bar.
    **more
        Further keyword arguments that the model takes; tensors among them lead with the example.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        If model, data, checkpoint or a number do not fit, or the energies of examples depend on
        each other; the message names the argument.
    FileNotFoundError
        If the checkpoint's folder does not exist.
    KeyboardInterrupt
        After Ctrl-C, between two steps; the message says how to go on. Without a checkpoint, once
        there are draws of all examples in memory, they are returned instead, with a warning:
        ``posterior.interrupted``.

    Warns
    -----
    SamplingWarning
        If chains did not move or mix, proposals diverged or step sizes collapsed: one message with
        the worst examples and the remedies. ``posterior.summary()`` tells the same.
    """
    num_chains = check_positive("num_chains", num_chains)
    num_samples = check_positive("num_samples", num_samples)
    thinning = check_positive("thinning", thinning)
    warmup_steps = checked_integer("warmup_steps", warmup_steps, 0)
    if chunk_size is not None:
        chunk_size = check_positive("chunk_size", chunk_size)
    path = None if checkpoint is None else check_folder(checkpoint, "checkpoint")
    seed = seed_of(seed, path)
    check_compile(compile)
    check_precision(precision)
    file = free_file(draws_file, path)
    kernel = HMC() if kernel is None else kernel
    check_kernel(kernel)
    potential = bound_to(
        model,
        data,
        keywords("sample_posterior", model, mask, context, more),
        evaluator_for(model, capture, compile),
        example_plate,
        shared,
        finds=True,
    )
    n = potential.num_examples
    keys = checked_ids(ids, n, potential.data.device)
    start = first_position(potential, num_chains, seed, init_strategy, keys)
    few = slice(MOST_COMPARED)
    check_uncoupled(potential.rows(few), start[few, 0])
    _check_tuning(tuning, n)
    with evaluation_mode(model):
        chosen = Chosen.made(compile, precision, potential, start[:, 0])
    plan = Plan(
        chosen.applied(potential),
        kernel,
        start,
        seed,
        warmup_steps,
        num_samples,
        thinning,
        n * num_chains if chunk_size is None else chunk_size,
        accumulate or {},
        chosen,
        anneal=init_strategy is None,
        tuning=tuning,
        ids=keys,
    )
    posterior = Posterior.of(*sample(plan, file, path, checkpoint_seconds, progress))
    if posterior.interrupted:
        made = posterior.position.shape[1]
        warnings.warn(
            f"Ctrl-C: sampling ended after {made} of {num_samples} draws of each chain; "
            "posterior.extend(...) makes more",
            stacklevel=3,
        )
    posterior.warn()
    return posterior


def _check_tuning(tuning: Mapping[str, Tensor] | None, num_examples: int) -> None:
    for name, value in (tuning or {}).items():
        if value.shape[0] not in (1, num_examples):
            raise ValueError(
                f"tuning[{name!r}] must lead with the {num_examples} examples, or with 1 for all "
                f"of them (posterior.typical_tuning()), got shape {tuple(value.shape)}"
            )
