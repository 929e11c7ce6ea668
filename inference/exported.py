"""Draws as the groups of variables that ArviZ knows, in memory and in a file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .arguments import checked_integer
from .diagnostics.arviz import check_examples, check_names
from .diagnostics.arviz import to_arviz as _to_arviz
from .potentials.potential import Potential
from .potentials.threads import one_at_a_time
from .potentials.trace import evaluation_mode
from .predictive import deterministic, gathered, likelihoods, predicted, spread_evenly
from .runs.energies import check_energies
from .runs.posterior_file import FileLayout, Values, write

Groups = dict[str, dict[str, Tensor]]


class OfModel(NamedTuple):
    """What a user asks for that takes the model.

    Attributes
    ----------
    predictive_draws, prior_draws : int
        Draws of each chain, and of the prior.
    deterministic : bool
        Whether deterministic sites are among the draws.
    seed : int
        Of the predictive and prior draws.
    """

    predictive_draws: int
    prior_draws: int
    deterministic: bool
    seed: int

    def at(
        self, potential: Potential | None, state: Mapping[str, Tensor] | None
    ) -> tuple[Potential, "OfModel"] | None:
        """Return the model and what of it is to be computed, None if nothing is.

        Raises
        ------
        ValueError
            If a number is negative, or the model or the data have changed.
        """
        for name in ("predictive_draws", "prior_draws"):
            checked_integer(name, getattr(self, name), 0)
        if potential is None:
            return None
        wanted = self._replace(
            deterministic=self.deterministic and bool(potential.layout.deterministic)
        )
        if not (wanted.predictive_draws or wanted.prior_draws or wanted.deterministic):
            return None
        try:
            check_energies(potential, state or {})
        except ValueError as error:
            raise ValueError(
                f"{error}; predictive_draws=0, prior_draws=0 and deterministic=False leave out "
                "what takes the model"
            ) from error
        return potential, wanted


def groups_of_draws(
    samples: Mapping[str, Tensor],
    sample_stats: Mapping[str, Tensor],
    observed: Mapping[str, Tensor],
    constant: Mapping[str, Tensor],
) -> Groups:
    """Return the groups that need no model; ``step_size`` stays as it is, (n,)."""
    return {
        "posterior": dict(samples),
        "sample_stats": {**sample_stats, "energy": -sample_stats["lp"]},
        **{
            group: dict(variables)
            for group, variables in (("observed_data", observed), ("constant_data", constant))
            if variables
        },
    }


def groups_of_model(potential: Potential, position: Tensor, wanted: OfModel) -> Groups:
    """Return the groups that are drawn from the model.

    Parameters
    ----------
    potential : Potential
        Of the n examples.
    position : Tensor, (chains, draws, n, d)
        All draws.
    wanted : OfModel
        What of it.
    """
    groups: Groups = {}
    chains, draws = position.shape[:2]
    if wanted.predictive_draws:
        some = position[:, spread_evenly(draws, min(wanted.predictive_draws, draws))]
        flat = some.flatten(0, 1)
        for group, found in (
            ("posterior_predictive", predicted(potential, flat, wanted.seed)),
            ("log_likelihood", likelihoods(potential, flat)),
        ):
            groups[group] = {
                name: value.unflatten(0, (chains, -1)) for name, value in found.items()
            }
    if wanted.prior_draws:
        seeds = range(wanted.seed, wanted.seed + wanted.prior_draws)
        with evaluation_mode(potential.model):
            drawn = [potential.draw_prior(seed) for seed in seeds]
        for group, index in (("prior", 0), ("prior_predictive", 1)):
            groups[group] = {
                name: torch.stack([one[index][name] for one in drawn])[None]
                for name in drawn[0][index]
            }
    return groups


@one_at_a_time
def to_arviz(
    groups: Groups,
    position: Tensor,
    of_model: Callable[[], tuple[Potential, OfModel] | None],
    examples: Sequence[int] | None,
    **labels: Any,
) -> Any:
    """Return draws as ArviZ's ``InferenceData`` (0.x) or ``DataTree`` (1.x).

    Parameters
    ----------
    groups : dict of dict of Tensor
        Of :func:`groups_of_draws`.
    position : Tensor, (chains, draws, n, d)
        All draws.
    of_model : callable
        Returns what is to be computed from the model.
    examples
        As in ``Posterior.to_arviz``.
    **labels
        ``coords``, ``dims`` and ``example_labels``, as there.
    """
    chains, draws, n = position.shape[:3]
    check_examples(examples, n)
    groups, asked, _ = _completed(groups, position, of_model, **labels)
    if asked is not None and asked[1].deterministic:
        values = gathered(deterministic(asked[0], position.flatten(0, 1)))
        groups["posterior"] |= {
            name: value.unflatten(0, (chains, draws)) for name, value in values.items()
        }
    stats = groups["sample_stats"]
    stats["step_size"] = stats["step_size"].expand(position.shape[:3])
    arrays = {
        group: {name: value.detach().cpu().numpy() for name, value in variables.items()}
        for group, variables in groups.items()
    }
    return _to_arviz(arrays, n, examples=examples, **labels)


@one_at_a_time
def to_file(
    path: Path,
    groups: Groups,
    position: Tensor,
    rest: Mapping[str, Any],
    of_model: Callable[[], tuple[Potential, OfModel] | None],
    **labels: Any,
) -> None:
    """Write draws to a file, with the rest that a posterior needs.

    Parameters
    ----------
    path : Path
        Of the file.
    groups : dict of dict of Tensor
        Of :func:`groups_of_draws`.
    position : Tensor, (chains, draws, n, d)
        Flat unconstrained draws.
    rest : mapping
        Of :func:`~explainaway.inference.saved.rest_of`.
    of_model : callable
        Returns what is to be computed from the model.
    **labels
        As in ``Posterior.to_arviz``.
    """
    chains, draws, n = position.shape[:3]
    first, *others = groups["posterior"].values()
    if others or not torch.equal(first.reshape(chains, draws, n, -1), position):
        groups = {**groups, "unconstrained_posterior": {"position": position}}
    groups, asked, following = _completed(groups, position, of_model, **labels)
    layout = _layout(groups, n, following, **labels)

    def values() -> Iterator[tuple[str, Values]]:
        for group, variables in groups.items():
            for name, value in variables.items():
                yield layout.paths[group][name], value
        if asked is not None and asked[1].deterministic:
            for block in deterministic(asked[0], position.flatten(0, 1)):
                for name, value in block.items():
                    yield layout.paths["posterior"][name], value

    write(path, layout, values(), rest)


def _completed(
    groups: Groups,
    position: Tensor,
    of_model: Callable[[], tuple[Potential, OfModel] | None],
    **labels: Any,
) -> tuple[Groups, tuple[Potential, OfModel] | None, dict[str, Any]]:
    """Return the groups with those of the model, what was asked of it, and what follows in shape.

    What does not fit is said before anything takes long.
    """
    n = position.shape[2]
    _layout(groups, n, {}, **labels)
    asked = of_model()
    following = {} if asked is None else _following(asked, position)
    _check_names(groups, n, following, **labels)
    if asked is None:
        return groups, None, following
    _layout(groups, n, following, **labels)
    return {**groups, **groups_of_model(asked[0], position, asked[1])}, asked, following


def _following(asked: tuple[Potential, OfModel], position: Tensor) -> dict[str, Any]:
    """Return shapes and types of deterministic sites, if they are wanted."""
    potential, wanted = asked
    if not wanted.deterministic:
        return {}
    one = next(deterministic(potential, position[0, :1]))
    return {name: ((*position.shape[:2], *v.shape[1:]), v.dtype) for name, v in one.items()}


def _check_names(
    groups: Groups,
    n: int,
    following: Mapping[str, Any],
    *,
    coords: Mapping[str, Sequence[Any]] | None,
    dims: Mapping[str, Sequence[str]] | None,
    **labels: Any,
) -> None:
    if not (coords or dims):
        return
    shapes = {
        group: {name: tuple(value.shape) for name, value in variables.items()}
        for group, variables in groups.items()
    }
    more = {name: shape for name, (shape, _) in following.items()}
    shapes["posterior"] |= {k: s for k, s in more.items() if k not in shapes["posterior"]}
    check_names(shapes, n, coords, dims)


def _layout(groups: Groups, n: int, following: Mapping[str, Any], **labels: Any) -> FileLayout:
    shapes: dict[str, dict[str, Any]] = {
        group: {name: (tuple(v.shape), v.dtype) for name, v in variables.items()}
        for group, variables in groups.items()
    }
    shapes["posterior"] |= following
    return FileLayout.of(shapes, n, **labels)
