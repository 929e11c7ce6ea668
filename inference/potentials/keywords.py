"""Keyword arguments on their way to the model: those that it does not take are named."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from .trace import Model


def keywords(
    caller: str, model: Model, mask: Any, context: Any, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a model is called with by name: mask and context where given, and the rest.

    Raises
    ------
    TypeError
        If the model does not take one of them.
    """
    given = {name: v for name, v in (("mask", mask), ("context", context)) if v is not None}
    given |= more
    taken = _taken(model)
    unknown = sorted(set(given) - taken) if taken is not None else []
    if unknown:
        raise TypeError(
            f"{caller}() got {unknown[0]!r}, which the model does not take"
            + (f", nor {caller} itself" if unknown[0] in more else "")
            + f": the model takes {sorted(taken or ())}"
        )
    return given


def _taken(model: Model) -> set[str] | None:
    """Return the names of a model's keyword arguments, None where it may take any."""
    parameters = _parameters(model)
    if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def positional_names(model: Model, count: int) -> list[str]:
    """Return what a model calls its first arguments: data_0, data_1, ... where it does not."""
    named = [
        p.name
        for p in _parameters(model) or []
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return [*named, *(f"data_{i}" for i in range(len(named), count))][:count]


def _parameters(model: Model) -> list[inspect.Parameter] | None:
    try:
        function: Any = model.forward if isinstance(model, nn.Module) else model
        # What Pyro's handlers make of a function does not say what it takes.
        while hasattr(function, "fn") and hasattr(function, "msngr"):
            function = function.fn
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
