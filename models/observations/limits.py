"""What observations with limits share: the limits themselves, and the cells that they limit."""

from typing import Any

import torch
from torch import Tensor

from ..arguments import first_place
from .base import Context, Observation
from .sensed import Sensed
from .wrapper import Wrapper


def as_limit(name: str, value: float | Tensor | None) -> Tensor | None:
    """Return a limit as a tensor, None for none.

    In float64, whatever the model computes in: 0.1 in float32 is not the 0.1 of float64 data.

    Raises
    ------
    ValueError
        If it is not finite.
    """
    if value is None:
        return None
    limit = torch.as_tensor(value, dtype=torch.float64).detach().clone()
    if not bool(limit.isfinite().all()):
        raise ValueError(f"{name} must be finite, or None for no limit, got {value!r}")
    return limit


def check_order(names: tuple[str, str], lower: Tensor | None, upper: Tensor | None) -> None:
    """Raise ValueError unless the first limit lies below the second in every cell."""
    if lower is None or upper is None:
        return
    try:
        lower, upper = torch.broadcast_tensors(lower, upper)
    except RuntimeError:
        raise ValueError(
            f"{names[0]} and {names[1]} must broadcast to each other, got shapes "
            f"{tuple(lower.shape)} and {tuple(upper.shape)}"
        ) from None
    wrong = lower >= upper
    if bool(wrong.any()):
        place = first_place(wrong)
        where = list(place) if place else ""
        raise ValueError(
            f"{names[0]}{where} must be smaller than {names[1]}{where}, got "
            f"{float(lower[place]):g} and {float(upper[place]):g}"
        )


def check_broadcasts(name: str, limit: Tensor | None, shape: torch.Size) -> None:
    """Raise ValueError unless a limit broadcasts to one example's data of a shape."""
    if limit is None:
        return
    sizes = zip(reversed(limit.shape), reversed(shape), strict=False)
    if limit.dim() > len(shape) or not all(a in (1, b) for a, b in sizes):
        raise ValueError(
            f"{name} must be a number or broadcast to one example's data, of shape "
            f"{tuple(shape)}, got shape {tuple(limit.shape)}"
        )


def check_base(base: Observation, wrapper: str) -> None:
    """Raise TypeError for a base whose cells cannot be given limits."""
    name = type(base).__name__
    if isinstance(base, Wrapper) and not isinstance(base, Sensed):
        raise TypeError(
            f"base must not be {name}(...): missing cells come last, write "
            f"Masked({wrapper}(...)), and only one of Censored and Truncated can be used"
        )
    if base.has_closed_form:
        raise TypeError(
            f"{name} learns from residuals in closed form, which {wrapper} does not leave as they "
            "are: learn by its gradient, learn_scale=True"
        )


def cells_of(base: Observation, output: Tensor, context: Context | None) -> Any:
    """Return the base's distribution of single cells, batch shape (n, ...).

    Raises
    ------
    TypeError
        If its cells are not independent.
    """
    made: Any = base.distribution(output, context=context)
    while isinstance(made, torch.distributions.Independent):
        made = made.base_dist
    if made.event_shape:
        raise TypeError(
            f"{type(base).__name__} has correlated cells (a {type(made).__name__} of event shape "
            f"{tuple(made.event_shape)}): limits need independent ones"
        )
    return made
