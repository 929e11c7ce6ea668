"""Draws as ArviZ's data structure, by the same call for ArviZ 0.x and 1.x.

Nothing here needs torch, so that it can be tested with ArviZ 1.x alone.
"""

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Described", "arviz", "check_examples", "check_names", "describe", "to_arviz"]

_SAMPLED = (
    "posterior",
    "unconstrained_posterior",
    "posterior_predictive",
    "log_likelihood",
    "sample_stats",
    "prior",
    "prior_predictive",
)

_OF_US = ("sample_stats", "unconstrained_posterior")
"""Groups whose variables have our names, not the model's."""

AXES = ("chain", "draw", "example")

Shape = tuple[int, ...]


@functools.cache
def arviz() -> Any:
    """Return ArviZ, imported when it is first asked for: that takes a second, and few runs ask."""
    with warnings.catch_warnings():
        # ArviZ 0.23 announces its successor to everybody who imports it, and so to our users.
        warnings.filterwarnings(
            "ignore", message="[\\s\\S]*ArviZ is undergoing", category=FutureWarning
        )
        import arviz as az
    return az


def _is_0_x() -> bool:
    """Asked by version: 1.x still answers to the name InferenceData, with a warning."""
    return int(arviz().__version__.split(".")[0]) < 1


class Described(NamedTuple):
    """A variable of a group.

    Attributes
    ----------
    name : str
        As ArviZ and files know it.
    dims : tuple of str
        Of all its dimensions; chain and draw are among them where it has them.
    """

    name: str
    dims: tuple[str, ...]


def describe(
    shapes: Mapping[str, Mapping[str, Shape]],
    num_examples: int,
    *,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    example_labels: Sequence[Any] | None = None,
) -> tuple[dict[str, dict[str, Described]], dict[str, dict[str, list[Any]]]]:
    """Return what variables are called and of which dimensions, and each group's coordinates.

    A site or an argument whose name is that of a dimension gets ``_site`` behind it, and ``/``
    becomes a dot: neither can be in a file.

    Parameters
    ----------
    shapes : mapping of mapping of tuple
        Of the variables by group and by the model's names.
    num_examples, coords, dims, example_labels
        As for :func:`to_arviz`.

    Raises
    ------
    ValueError
        If labels, coordinates or dimensions do not fit.
    """
    labels = list(range(num_examples)) if example_labels is None else list(example_labels)
    if len(labels) != num_examples:
        raise ValueError(
            f"example_labels must hold one label for each of the {num_examples} examples, got "
            f"{len(labels)}"
        )
    places: dict[Any, int] = {}
    for place, label in enumerate(labels):
        first = places.setdefault(label, place)
        if first != place:
            raise ValueError(
                f"example_labels must differ from each other, got {label!r} for the examples "
                f"{first} and {place}"
            )
    events = {
        group: {name: shape[len(_leading(group, shape)) :] for name, shape in variables.items()}
        for group, variables in shapes.items()
    }
    names = _names(events, dims or {})
    described: dict[str, dict[str, Described]] = {}
    all_coords: dict[str, dict[str, list[Any]]] = {}
    for group, variables in shapes.items():
        described[group] = {}
        known = {"example": labels, **{name: list(v) for name, v in (coords or {}).items()}}
        used: dict[str, None] = {}
        for name, shape in variables.items():
            own = name if group in _OF_US else names[name]
            # A likelihood bears the name of what was observed, but has one value an example.
            given = None if group == "log_likelihood" else (dims or {}).get(name)
            event = _event_dims(own, events[group][name], given, known)
            described[group][name] = Described(own, (*_leading(group, shape), *event))
            used |= dict.fromkeys(described[group][name].dims)
        all_coords[group] = {dim: known[dim] for dim in used if dim in known}
    return described, all_coords


def _leading(group: str, shape: Shape) -> tuple[str, ...]:
    """Return the first dimensions of a variable; what is frozen after warmup has no draws."""
    return AXES if group in _SAMPLED and len(shape) >= 3 else AXES[2:]


def _names(
    events: Mapping[str, Mapping[str, Shape]], dims: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return names of variables that no dimension and no other variable has."""
    most: dict[str, int] = {}
    for group, variables in events.items():
        for name, event in variables.items():
            if group not in _OF_US:
                most[name] = max(most.get(name, 0), len(event))
    for variable, given in dims.items():
        for dim in given:
            if dim in AXES or dim in most or list(given).count(dim) > 1:
                taken = "a variable" if dim in most else "another dimension"
                raise ValueError(
                    f"dims[{variable!r}] names a dimension {dim!r}, as {taken} is called: give it "
                    "another name"
                )
    reserved = {*AXES, *(f"{name}_dim_{i}" for name, count in most.items() for i in range(count))}
    found: dict[str, str] = {}
    # Those that keep their names come first, so that no other can take one of them.
    for name in sorted(most, key=lambda name: name in reserved or "/" in name):
        own = name.replace("/", ".")
        if own in reserved:
            own += "_site"
        while own in found.values() or own in reserved:
            own += "_"
        found[name] = own
        reserved |= {f"{own}_dim_{i}" for i in range(most[name])}
    return found


def check_names(
    shapes: Mapping[str, Mapping[str, Shape]],
    num_examples: int,
    coords: Mapping[str, Sequence[Any]] | None,
    dims: Mapping[str, Sequence[str]] | None,
) -> None:
    """Raise ValueError if ``dims`` or ``coords`` have names that nothing bears.

    Parameters
    ----------
    shapes : mapping of mapping of tuple
        As for :func:`describe`, of all groups that there will be.
    num_examples, coords, dims
        As for :func:`to_arviz`.
    """
    known = {name for group, names in shapes.items() if group not in _OF_US for name in names}
    for name in dims or {}:
        if name not in known:
            raise ValueError(f"dims must name variables, {sorted(known)}, got {name!r}")
    described, _ = describe(shapes, num_examples, dims=dims)
    found = {dim for names in described.values() for one in names.values() for dim in one.dims}
    for dim in coords or {}:
        if dim not in found - {"chain", "draw"}:
            raise ValueError(
                f"coords must name dimensions, {sorted(found - {'chain', 'draw'})}, got {dim!r}"
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
    shapes = {
        group: {name: value.shape for name, value in variables.items()}
        for group, variables in groups.items()
    }
    described, all_coords = describe(
        shapes, num_examples, coords=coords, dims=dims, example_labels=example_labels
    )
    chosen = check_examples(examples, num_examples)
    single = examples is not None and len(chosen) == 1
    parts = {}
    for group, variables in groups.items():
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        names: dict[str, list[str]] = {}
        for name, value in variables.items():
            known = described[group][name]
            axis = known.dims.index("example")
            array = np.take(value, chosen, axis=axis)
            arrays[known.name] = array.squeeze(axis) if single else array
            left = [dim for dim in known.dims if dim not in ("chain", "draw")]
            names[known.name] = left[1:] if single else left
        of_group = all_coords[group]
        if single:
            of_group.pop("example", None)
        elif "example" in of_group:
            of_group["example"] = [of_group["example"][example] for example in chosen]
        for axis_name in ("chain", "draw"):
            of_group.pop(axis_name, None)
        parts[group] = _group(group, arrays, names, of_group)
    if _is_0_x():
        return arviz().concat(*parts.values())
    tree = parts["posterior"]
    for group, part in parts.items():
        if group != "posterior":
            tree[group] = part[group]
    return tree


def check_examples(examples: Sequence[int] | None, num_examples: int) -> list[int]:
    """Return which examples are meant, all by default, or raise ValueError if there is no such."""
    chosen = list(range(num_examples)) if examples is None else list(examples)
    for example in chosen:
        if not 0 <= example < num_examples:
            raise ValueError(f"examples must lie between 0 and {num_examples - 1}, got {example}")
    return chosen


def _event_dims(
    name: str, shape: Shape, given: Sequence[str] | None, coords: dict[str, list[Any]]
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
        if _is_0_x():
            groups: dict[str, Any] = {group: arrays}
            return arviz().from_dict(**groups, coords=coords, dims=names)
        return arviz().from_dict({group: arrays}, coords=coords, dims=names)
