"""Posterior draws of many examples, and what is made of them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import arviz as _arviz
from .checkpoint import check_folder, load_checkpoint, save_checkpoint
from .diagnostics import Summary, summarise
from .moments import Moments
from .potential import Potential
from .trace import evaluation_mode


@dataclass(frozen=True)
class Posterior:
    """Draws from ``p(z_i | y_i; θ)`` for n examples by c chains.

    Attributes
    ----------
    samples : dict of Tensor
        Constrained latents by site name, (chains, draws, n, ...).
    sample_stats : dict of Tensor
        ``lp`` (log p(y, z) in nats, in unconstrained space), ``acceptance_rate``, ``diverging``,
        ``energy_error``, each (chains, draws, n), and ``step_size`` (n,), frozen after warmup.
    accumulated : dict of Moments
        Posterior mean and variance, over draws and chains, of what ``accumulate`` asked for.
    observed : dict of Tensor
        The data by argument name, NaN where not observed.
    position : Tensor, (chains, draws, n, d)
        The draws in flat unconstrained space.
    seconds : float
        Wall time of the draws, warmup not included.
    num_gradients : int
        Evaluations of the whole batch's gradient for these draws, warmup not included.
    potential : Potential or None
        What was sampled; needed for predictive draws and likelihoods, not kept in a file.
    """

    samples: dict[str, Tensor]
    sample_stats: dict[str, Tensor]
    accumulated: dict[str, Moments]
    observed: dict[str, Tensor]
    position: Float[Tensor, "chains draws n d"]
    seconds: float
    num_gradients: int
    potential: Potential | None = None

    def get_samples(self, group_by_chain: bool = False) -> dict[str, Tensor]:
        """Return the draws by site name, (chains * draws, n, ...), as Pyro's MCMC does.

        Parameters
        ----------
        group_by_chain : bool, default False
            Keep the chains apart: (chains, draws, n, ...).
        """
        if group_by_chain:
            return dict(self.samples)
        return {name: value.flatten(0, 1) for name, value in self.samples.items()}

    def summary(self) -> Summary:
        """Return r-hat and ESS of each example and component; frozen, copied, NaN chains apart."""
        return summarise(self.position)

    def to_arviz(
        self,
        examples: Sequence[int] | None = None,
        coords: Mapping[str, Sequence[Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
        example_labels: Sequence[Any] | None = None,
        predictive_draws: int = 100,
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
        seed : int, default 0
            Of the predictive draws.

        Returns
        -------
        InferenceData or DataTree
            Groups posterior, sample_stats, observed_data and, where the model is at hand,
            posterior_predictive and log_likelihood.

        Notes
        -----
        ``log_likelihood`` is given z, one value for each example. With a latent for each example
        it is not for PSIS-LOO or WAIC: they would not leave the latent out.
        """
        groups: dict[str, dict[str, Tensor]] = {
            "posterior": self.samples,
            "sample_stats": {
                name: value.expand(*self.position.shape[:3]) if value.dim() == 1 else value
                for name, value in self.sample_stats.items()
            },
            "observed_data": self.observed,
        }
        if self.potential is not None and predictive_draws > 0:
            predictive, likelihood = self._predict(predictive_draws, seed)
            groups["posterior_predictive"] = predictive
            groups["log_likelihood"] = likelihood
        return _arviz.to_arviz(
            groups,
            self.position.shape[2],
            examples=examples,
            coords=coords,
            dims=dims,
            example_labels=example_labels,
        )

    def _predict(self, count: int, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        assert self.potential is not None
        chains, draws, n, d = self.position.shape
        chosen = torch.linspace(0, draws - 1, min(count, draws)).round().long().tolist()
        copies = self.potential.on(self.potential.data.repeat(chains))
        predictions: list[dict[str, Tensor]] = []
        likelihoods: list[Tensor] = []
        with evaluation_mode(copies.model):
            for number, draw in enumerate(chosen):
                flat = self.position[:, draw].reshape(chains * n, d)
                predictions.append(copies.predict(flat, seed + number))
                likelihoods.append(copies.log_likelihood(flat).reshape(chains, n))
        predictive = {
            name: torch.stack(
                [one[name].reshape(chains, n, *one[name].shape[1:]) for one in predictions], 1
            )
            for name in predictions[0]
        }
        return predictive, {"+".join(predictive): torch.stack(likelihoods, 1)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the draws to a file that :meth:`load` reads; the model is not in it.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        """
        save_checkpoint(
            check_folder(path, "path"),
            {
                "kind": "a posterior",
                "identity": {},
                "samples": self.samples,
                "sample_stats": self.sample_stats,
                "accumulated": {k: m._asdict() for k, m in self.accumulated.items()},
                "observed": self.observed,
                "position": self.position,
                "seconds": self.seconds,
                "num_gradients": self.num_gradients,
            },
        )

    @staticmethod
    def load(path: str | os.PathLike[str], potential: Potential | None = None) -> "Posterior":
        """Read draws from a file.

        Parameters
        ----------
        path : path
            Written by :meth:`save`.
        potential : Potential, optional
            ``bind(model, y)`` of the model and data, for predictive draws and likelihoods.

        Raises
        ------
        ValueError
            If the file is truncated or something else.
        """
        names = (
            "samples",
            "sample_stats",
            "accumulated",
            "observed",
            "position",
            "seconds",
            "num_gradients",
        )
        content = load_checkpoint(Path(path), "a posterior", {}, names)
        fields = {name: content[name] for name in names}
        fields["accumulated"] = {k: Moments(**m) for k, m in content["accumulated"].items()}
        return Posterior(**fields, potential=potential)
