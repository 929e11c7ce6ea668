"""Posterior draws of many examples, and what is made of them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .arguments import check_positive
from .diagnostics.described import as_html, described
from .diagnostics.moments import Moments
from .diagnostics.summary import Summary
from .diagnostics.verdict import stale_chains, stopped_chains, warn_of_problems
from .exported import Groups, OfModel, groups_of_draws
from .exported import to_arviz as _to_arviz
from .exported import to_file as _to_file
from .judged import summary_of
from .kernels.base import Kernel
from .potentials.potential import Potential, is_joint
from .predictive import deterministic as _deterministic
from .predictive import gathered, imputed, predicted, spread_evenly
from .runs.checkpoint import check_folder
from .runs.chunks import sample
from .runs.draw_store import DrawStore, free_file
from .runs.energies import check_energies
from .runs.given_data import split_data
from .runs.outcome import Outcome, typical_tuning
from .runs.plan import Accumulator, Plan, parameters_fingerprint
from .saved import finish_draws, rest_of
from .saved import load as _load


@dataclass(frozen=True)
class Posterior:
    """Draws from ``p(z_i | y_i; θ)`` for n examples by c chains.

    Attributes
    ----------
    samples : dict of Tensor
        Constrained latents by site name, (chains, draws, n, ...).
    sample_stats : dict of Tensor
        ``lp`` (log p(y, z) in nats, unconstrained; where :class:`Langevin` or
        :class:`GradientDescent` undo a divergent move, of where the chain goes on from),
        ``acceptance_rate``, ``diverging``, ``energy_error``, each (chains, draws, n), and
        ``step_size`` (n,), frozen after warmup.
    accumulated : dict of Moments
        Posterior mean and variance, over draws and chains, of what ``accumulate`` asked for.
    observed : dict of Tensor
        The data that the model explains, by name, NaN where not observed.
    constant : dict of Tensor
        Other tensors that the model was given, by argument name.
    position : Tensor, (chains, draws, n, d)
        The draws in flat unconstrained space.
    seconds : float
        Wall time of the draws, warmup not included.
    num_gradients : float
        Gradient evaluations of each chain for these draws, warmup not included.
    tuning : dict of Tensor
        What warmup found for each example, (n, ...): ``step_size`` and, if the kernel has it,
        ``scale``, the root of the inverse mass.
    potential : Potential or None
        What was sampled; needed for predictive draws and likelihoods, not kept in a file.
    state : dict of Tensor or None
        The kernel's, (chains, n, ...), after the last draws: its energies tell whether the model is
        still what was sampled.
    continuation : Plan or None
        Of as many draws again by the same chains, for :meth:`extend`; not kept whole in a file.
    interrupted : bool
        Whether Ctrl-C ended the run before all of the draws were made; :meth:`extend` goes on.
    """

    samples: dict[str, Tensor]
    sample_stats: dict[str, Tensor]
    accumulated: dict[str, Moments]
    observed: dict[str, Tensor]
    constant: dict[str, Tensor]
    position: Float[Tensor, "chains draws n d"]
    seconds: float
    num_gradients: float
    tuning: dict[str, Tensor]
    potential: Potential | None = None
    state: dict[str, Tensor] | None = None
    continuation: Plan | None = None
    interrupted: bool = False

    def __repr__(self) -> str:
        return described(
            self.samples, self.sample_stats, self.observed, self.accumulated, self.seconds
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    @staticmethod
    def of(plan: Plan, store: DrawStore, outcome: Outcome) -> "Posterior":
        """Return the posterior of a run that has filled its store."""
        observed, constant = split_data(plan.potential)
        posterior = Posterior(
            samples=store.samples,
            sample_stats={
                **store.stats,
                "diverging": store.stats["diverging"].bool(),
                "step_size": outcome.tuning["step_size"],
            },
            accumulated=outcome.moments,
            observed=observed,
            constant=constant,
            position=store.position,
            seconds=outcome.seconds,
            num_gradients=outcome.num_gradients,
            tuning=outcome.tuning,
            potential=plan.potential,
            state=outcome.state,
            continuation=plan.further(outcome),
            interrupted=outcome.interrupted,
        )
        finish_draws(store, posterior._groups(), posterior._rest())
        return posterior

    def extend(
        self,
        num_samples: int,
        *,
        draws_file: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 60.0,
        progress: bool = True,
    ) -> "Posterior":
        """Go on with the same chains, without a new warmup.

        The draws are, bit for bit, those that one longer run would have given.

        Parameters
        ----------
        num_samples : int
            Further draws of each chain.
        draws_file, checkpoint, checkpoint_seconds, progress
            As in :func:`sample_posterior`; a ``draws_file`` receives the further draws.

        Returns
        -------
        Posterior
            All draws, these and the further ones.

        Raises
        ------
        ValueError
            If the posterior was loaded without its potential and kernel, or θ has changed, or
            the energies of the last draws are not what they were: model or data have changed.

        Warns
        -----
        SamplingWarning
            Of all draws, as the first run does, and of chains that have stopped moving.
        """
        num_samples = check_positive("num_samples", num_samples)
        plan = self.continuation
        if plan is None:
            raise ValueError(
                "this posterior cannot be extended: it was loaded without its model; call "
                "Posterior.load(path, potential=bind(model, y), kernel=...)"
            )
        if parameters_fingerprint(plan.potential) != plan.parameters:
            raise ValueError(
                "the model's parameters have changed since these draws were made, so further "
                "draws would be of another posterior: sample afresh"
            )
        check_energies(plan.potential, plan.state or {}, plan.chunks)
        path = None if checkpoint is None else check_folder(checkpoint, "checkpoint")
        plan = replace(plan, num_samples=num_samples)
        further = Posterior.of(
            *sample(plan, free_file(draws_file, path), path, checkpoint_seconds, progress)
        )
        whole = Posterior(
            samples={k: torch.cat([v, further.samples[k]], 1) for k, v in self.samples.items()},
            sample_stats={
                name: value
                if name == "step_size"
                else torch.cat([value, further.sample_stats[name]], 1)
                for name, value in self.sample_stats.items()
            },
            accumulated=further.accumulated,
            observed=self.observed,
            constant=self.constant,
            position=torch.cat([self.position, further.position], 1),
            seconds=self.seconds + further.seconds,
            num_gradients=self.num_gradients + further.num_gradients,
            tuning=self.tuning,
            potential=further.potential,
            state=further.state,
            continuation=further.continuation,
            interrupted=further.interrupted,
        )
        rate = self.sample_stats["acceptance_rate"]
        whole.warn(stopped_chains(self.position, further.position, rate, plan.thinning))
        return whole

    def warn(self, more: tuple[str, ...] = ()) -> None:
        """Warn of what the draws show to be wrong, once, with more that is known to be."""
        if self.continuation is not None:
            more = (*more, *stale_chains(self.continuation.stale_energies()))
        step_size = self.sample_stats["step_size"]
        warn_of_problems(self.summary(), step_size, more, stacklevel=4)

    @property
    def seed(self) -> int | None:
        """What reproduces the draws; None where the posterior was loaded without its model."""
        return None if self.continuation is None else self.continuation.seed

    def typical_tuning(self) -> dict[str, Tensor]:
        """Return a tuning for other examples, (1, ...): hand it to ``sample_posterior(tuning=)``.

        A step size is the median over the examples, a scale the root of the mean of ``L Lᵀ``.
        """
        return typical_tuning(self.tuning)

    def get_samples(
        self, group_by_chain: bool = False, deterministic: bool = False
    ) -> dict[str, Tensor]:
        """Return the draws by site name, (chains * draws, n, ...), as Pyro's MCMC does.

        Parameters
        ----------
        group_by_chain : bool, default False
            Keep the chains apart: (chains, draws, n, ...).
        deterministic : bool, default False
            Also what the plate's deterministic sites are, latents that have been reparameterised
            among them: the model is run for every draw.

        Raises
        ------
        ValueError
            If they are asked for and the posterior was loaded without its potential.
        """
        samples = {name: value.flatten(0, 1) for name, value in self.samples.items()}
        if deterministic:
            potential, _ = self._drawing("get_samples", None)
            samples |= gathered(_deterministic(potential, self.position.flatten(0, 1)))
        if not group_by_chain:
            return samples
        shape = self.position.shape[:2]
        return {name: value.unflatten(0, shape) for name, value in samples.items()}

    def predict(self, num_draws: int | None = None, seed: int = 0) -> Any:
        """Return draws of the data given the latents, every cell, hidden and observed.

        Parameters
        ----------
        num_draws : int, optional
            How many, each from another draw of the latents, spread evenly over chains and draws; by
            default one from each.
        seed : int, default 0
            Reproduces them.

        Returns
        -------
        Tensor or dict of Tensor
            (num_draws, n, ...), in the order of :meth:`get_samples`; a dict by site name where the
            model has several observed sites.

        Raises
        ------
        ValueError
            If the posterior was loaded without its potential, or ``num_draws`` is more than there
            are.
        """
        potential, chosen = self._drawing("predict", num_draws)
        found = predicted(potential, self.position.flatten(0, 1)[chosen], seed)
        return next(iter(found.values())) if len(found) == 1 else found

    def impute(self, num_draws: int | None = None, seed: int = 0) -> Tensor:
        """Return draws of the data's hidden cells given the observed ones.

        Their spread holds the uncertainty of the latents and the observation's noise.

        Parameters
        ----------
        num_draws, seed
            As in :meth:`predict`.

        Returns
        -------
        Tensor
            (num_draws, n, ...): observed cells as they were given, bit for bit.

        Raises
        ------
        ValueError
            As :meth:`predict`, and if the model has no method ``impute``, as
            :class:`~explainaway.models.GeneratorModel` has.
        """
        potential, chosen = self._drawing("impute", num_draws)
        samples = {name: value[chosen] for name, value in self.get_samples().items()}
        return imputed(potential, samples, seed)

    def _drawing(self, name: str, num_draws: int | None) -> tuple[Potential, Tensor]:
        if self.potential is None:
            raise ValueError(
                f"{name}() needs the model, but this posterior was loaded without it: call "
                "Posterior.load(path, potential=bind(model, y))"
            )
        chains, draws = self.position.shape[:2]
        return self.potential, spread_evenly(chains * draws, num_draws)

    def summary(self) -> Summary:
        """Return r-hat and ESS of each example and component; frozen, copied, NaN chains apart.

        The verdict is made on decoded signals, hidden cells first, where the model has a method
        ``decode``, and otherwise on the constrained latents.
        """
        return self._summary

    @cached_property
    def _summary(self) -> Summary:
        thinning = 1 if self.continuation is None else self.continuation.thinning
        return summary_of(
            self.potential,
            self.samples,
            self.position,
            self.observed,
            self.sample_stats,
            thinning,
        )

    def to_arviz(
        self,
        examples: Sequence[int] | None = None,
        coords: Mapping[str, Sequence[Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
        example_labels: Sequence[Any] | None = None,
        predictive_draws: int = 100,
        prior_draws: int = 100,
        deterministic: bool = True,
        seed: int = 0,
    ) -> Any:
        """Return the draws as ArviZ's ``InferenceData`` (0.x) or ``DataTree`` (1.x).

        Parameters
        ----------
        examples : sequence of int, optional
            Only these examples. A single one is given without its dimension, as
            ``arviz.plot_energy``, ``bfmi`` and pair plots need it.
        coords : mapping, optional
            Coordinate values by dimension name.
        dims : mapping, optional
            Names of the dimensions that follow (chain, draw, example), by variable name.
        example_labels : sequence, optional
            Coordinate of the dimension ``example``; by default 0, 1, ...
        predictive_draws : int, default 100
            Draws of each chain for the groups ``posterior_predictive`` and ``log_likelihood``,
            spread evenly; at most all. 0 leaves these groups out.
        prior_draws : int, default 100
            Draws for the groups ``prior`` and ``prior_predictive``; 0 leaves them out.
        deterministic : bool, default True
            Whether deterministic sites (``pyro.deterministic``, latents that have been
            reparameterised) are among the draws, where the model is at hand.
        seed : int, default 0
            Of the predictive and prior draws.

        Returns
        -------
        InferenceData or DataTree
            Groups posterior, sample_stats, observed_data, constant_data (what else the model was
            given, by argument name) and, where the model is at hand, posterior_predictive,
            log_likelihood, prior and prior_predictive. What is observed, predicted and likely
            bears the name of its observed site. ``energy`` in sample_stats is the potential energy,
            -lp: the momentum is drawn anew at every step.

        Raises
        ------
        ValueError
            If examples, labels or names do not fit, or the model is needed and it or the data have
            changed.

        Notes
        -----
        ``log_likelihood`` is given z, one value for each example. With a latent for each example
        it is not for PSIS-LOO or WAIC: they would not leave the latent out.

        A variable whose name a dimension has (``chain``, ``draw``, ``example``) gets ``_site``
        behind it; ``/`` in a name becomes a dot.
        """
        asked = OfModel(predictive_draws, prior_draws, deterministic, seed)
        return _to_arviz(
            self._groups(),
            self.position,
            lambda: asked.at(self.potential, self.state),
            [0] if examples is None and is_joint(self.potential) else examples,
            coords=coords,
            dims=dims,
            example_labels=example_labels,
        )

    def _groups(self) -> Groups:
        return groups_of_draws(self.samples, self.sample_stats, self.observed, self.constant)

    def _rest(self) -> dict[str, Any]:
        return rest_of(vars(self))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        coords: Mapping[str, Sequence[Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
        example_labels: Sequence[Any] | None = None,
        predictive_draws: int = 0,
        prior_draws: int = 0,
        deterministic: bool = True,
        seed: int = 0,
    ) -> None:
        """Write the draws to a NetCDF file that ArviZ, xarray and :meth:`load` read.

        The model is not in it, but all that the chains need to go on. A checksum guards every
        byte. A file that was there is replaced when the new one is whole.

        Parameters
        ----------
        path : path
            Of the file.
        coords, dims, example_labels, deterministic, seed
            As in :meth:`to_arviz`.
        predictive_draws, prior_draws : int, default 0
            As in :meth:`to_arviz`.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        OSError
            If it cannot be written; what was there before is as it was.
        ValueError
            As :meth:`to_arviz`.
        """
        place = check_folder(path, "path")
        asked = OfModel(predictive_draws, prior_draws, deterministic, seed)
        _to_file(
            place,
            self._groups(),
            self.position,
            self._rest(),
            lambda: asked.at(self.potential, self.state),
            coords=coords,
            dims=dims,
            example_labels=example_labels,
        )

    @staticmethod
    def load(
        path: str | os.PathLike[str],
        potential: Potential | None = None,
        kernel: Kernel[Any] | None = None,
        accumulate: Mapping[str, Accumulator] | None = None,
    ) -> "Posterior":
        """Read draws from a file.

        Parameters
        ----------
        path : path
            Written by :meth:`save`, or a ``draws_file`` whose sampling has ended. A large one is
            mapped into memory, not read.
        potential : Potential, optional
            ``bind(model, y)`` of the model and data, for predictive draws and likelihoods.
        kernel : Kernel, optional
            The one that the draws were made with, for :meth:`extend`.
        accumulate : mapping of callable, optional
            As in :func:`sample_posterior`, for :meth:`extend`.

        Raises
        ------
        ValueError
            If the file is damaged, unfinished or something else, was made with another kernel, or
            the energies of the last draws are not what they were: of another model or other data.
        """
        return Posterior(**_load(Path(path), potential, kernel, accumulate))
