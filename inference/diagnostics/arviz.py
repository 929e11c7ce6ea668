"""Draws as ArviZ's data structure, by the same call for ArviZ 0.x and 1.x.

Nothing here needs torch, so that it can be tested with ArviZ 1.x alone.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings():
    # ArviZ 0.23 announces its successor to everybody who imports it, and so to our users.
    warnings.filterwarnings(
        "ignore", message="[\\s\\S]*ArviZ is undergoing", category=FutureWarning
    )
    import arviz as az

__all__ = ["az", "to_arviz"]

# Asked by version: 1.x still answers to the name InferenceData, with a warning.
_IS_0_X = int(az.__version__.split(".")[0]) < 1

_SAMPLED = (
    "posterior",
    "posterior_predictive",
    "log_likelihood",
    "sample_stats",
    "prior",
    "prior_predictive",
)


def to_arviz(
    groups: Mapping[str, Mapping[str, NDArray[Any]]],
    num_examples: int,
    *,
    examples: Sequence[int] | None = None,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    example_labels: Sequence[Any] | None = None,
) -> Any:
    """Return an ``InferenceData`` (ArviZ 0.x) or a ``DataTree`` (1.x).

    Parameters
    ----------
    groups : mapping of mapping of array
        Variables by group; (chain, draw, example, ...) in sampled groups, (example, ...) in
        ``observed_data`` and ``constant_data``.
    num_examples : int
        Number of examples, n.
    examples, coords, dims, example_labels
        As in :meth:`Posterior.to_arviz`.

    Raises
    ------
    ValueError
        If an example does not exist, or labels or names do not fit.
    """
    labels = list(range(num_examples)) if example_labels is None else list(example_labels)
    if len(labels) != num_examples:
        raise ValueError(
            f"example_labels must hold one label for each of the {num_examples} examples, got "
            f"{len(labels)}"
        )
    chosen = list(range(num_examples)) if examples is None else list(examples)
    for example in chosen:
        if not 0 <= example < num_examples:
            raise ValueError(f"examples must lie between 0 and {num_examples - 1}, got {example}")
    single = examples is not None and len(chosen) == 1
    all_coords: dict[str, Any] = dict(coords or {})
    if not single:
        all_coords["example"] = [labels[example] for example in chosen]
    parts = {}
    for group, variables in groups.items():
        axis = 2 if group in _SAMPLED else 0
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        names: dict[str, list[str]] = {}
        for name, value in variables.items():
            array = np.take(value, chosen, axis=axis)
            arrays[name] = array.squeeze(axis) if single else array
            # A likelihood bears the name of what was observed, but has one value an example.
            given = None if group == "log_likelihood" else (dims or {}).get(name)
            event = _event_dims(name, array.shape[axis + 1 :], given, all_coords)
            names[name] = event if single else ["example", *event]
        used = {dimension for found in names.values() for dimension in found}
        used_coords = {key: all_coords[key] for key in all_coords if key in used}
        parts[group] = _group(group, arrays, names, used_coords)
    if _IS_0_X:
        return az.concat(*parts.values())
    tree = parts["posterior"]
    for group, part in parts.items():
        if group != "posterior":
            tree[group] = part[group]
    return tree


def _event_dims(
    name: str,
    shape: tuple[int, ...],
    given: Sequence[str] | None,
    coords: dict[str, Any],
) -> list[str]:
    """Return the names of a variable's last dimensions, and give each a coordinate."""
    if given is not None and len(given) != len(shape):
        raise ValueError(
            f"dims[{name!r}] must name the {len(shape)} dimensions that follow (chain, draw, "
            f"example), got {list(given)}"
        )
    event = list(given) if given is not None else [f"{name}_dim_{i}" for i in range(len(shape))]
    for dimension, size in zip(event, shape, strict=True):
        coords.setdefault(dimension, list(range(size)))
        if len(coords[dimension]) != size:
            raise ValueError(
                f"coords[{dimension!r}] must hold {size} values, as {name} has, got "
                f"{len(coords[dimension])}"
            )
    return event


def _group(
    group: str,
    arrays: dict[str, Any],
    names: dict[str, list[str]],
    coords: dict[str, Any],
) -> Any:
    with warnings.catch_warnings():
        # ArviZ 0.x takes few draws by many chains for a mistake.
        warnings.filterwarnings("ignore", message="More chains")
        if _IS_0_X:
            groups: dict[str, Any] = {group: arrays}
            return az.from_dict(**groups, coords=coords, dims=names)
        return az.from_dict({group: arrays}, coords=coords, dims=names)
