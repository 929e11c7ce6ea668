"""Normal priors over parameters, by their names."""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from ..arguments import plain_number

Deviations = Mapping[str, float]
"""From patterns of names to standard deviations."""


def checked_deviations(weight_prior: Any) -> dict[str, float]:
    """Return standard deviations by pattern.

    Raises
    ------
    TypeError
        If they are no mapping from strings.
    ValueError
        If one is not positive and finite.
    """
    if weight_prior is None:
        return {}
    if not isinstance(weight_prior, Mapping) or not all(isinstance(n, str) for n in weight_prior):
        raise TypeError(
            "weight_prior must be a mapping from patterns of parameters' names to standard "
            f'deviations such as {{"network.*.weight": 1.0}}, got {weight_prior!r}'
        )
    checked = {pattern: plain_number(value) for pattern, value in weight_prior.items()}
    for pattern, value in checked.items():
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(
                f"weight_prior[{pattern!r}] must be a positive standard deviation, got {value!r}"
            )
    return checked


def precisions(
    deviations: Deviations, parameters: Mapping[str, Tensor], num_examples: int
) -> dict[int, float]:
    """Return by the id of each parameter that has a prior its precision, as share of an example.

    The first pattern that fits a name counts.

    Raises
    ------
    ValueError
        If a pattern fits no parameter.
    """
    for pattern in deviations:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise ValueError(
                f"weight_prior names {pattern!r}, which fits none of the parameters "
                f"{list(parameters)}"
            )
    found = {}
    for name, parameter in parameters.items():
        for pattern, deviation in deviations.items():
            if fnmatchcase(name, pattern):
                found[id(parameter)] = 1 / (deviation**2 * num_examples)
                break
    return found


def with_prior(
    gradients: list[Tensor], leaves: list[Tensor], precision: Mapping[int, float]
) -> list[Tensor]:
    """Return gradients of the loss with those of minus the log prior added."""
    if not precision:
        return gradients
    return [
        g if id(leaf) not in precision else g + precision[id(leaf)] * leaf.detach()
        for g, leaf in zip(gradients, leaves, strict=True)
    ]
