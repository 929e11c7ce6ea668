"""Checks of data before long work starts: each error names the place and what was expected."""

import warnings
from collections.abc import Mapping

import pyro.distributions as dist
import torch
from torch import Tensor

from .arguments import first_place
from .distributions.supports import elementwise
from .observations import Observation
from .pieces import Context, Read

CHECKED_AT_ONCE = 10_000
"""Examples whose data are checked in one go."""


def check_examples(
    observation: Observation, y: Tensor, mask: Tensor | None, context: Context | None
) -> None:
    """Raise for data without an example, and for what the observation itself does not take."""
    if not isinstance(y, Tensor):
        raise TypeError(
            f"y must be one tensor or array, got a {type(y).__name__}: of examples in a list make "
            "one, torch.stack(list), padded to one length where they differ"
        )
    as_floating(y)
    if y.dim() < 1 or y.shape[0] == 0:
        raise ValueError(f"y must hold at least one example, got shape {tuple(y.shape)}")
    if mask is not None and mask.shape != y.shape:
        observation.prepare(y, mask)  # says what is wrong with it
    observation.validate(y, mask, context)


def check_context(context: Context, num_examples: int | None = None) -> Read:
    """Return a context that keeps what is read of it.

    Raises
    ------
    TypeError
        Unless it holds tensors of real numbers.
    ValueError
        If they are not of so many examples.
    """
    if not isinstance(context, Mapping):
        raise TypeError(
            f"context must be a dict of tensors by name, got a {type(context).__name__}"
        )
    for key, value in context.items():
        if not isinstance(value, Tensor) or value.is_complex():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(
                f"context[{key!r}] must be a tensor of real numbers with the example first, got "
                f"{kind}"
            )
        if num_examples is not None and value.shape[:1] != (num_examples,):
            raise ValueError(
                f"context[{key!r}] must have the example as its first dimension, of size "
                f"{num_examples}, got shape {tuple(value.shape)}"
            )
    return Read(context)


def check_cells(
    observation: Observation, made: dist.TorchDistribution, y: Tensor, mask: Tensor | None
) -> None:
    """Raise for cells that cannot be what is observed, warn of such as hardly are.

    Parameters
    ----------
    observation : Observation
        Of the data.
    made : Distribution
        What it gives for one example.
    y, mask : Tensor
        As the user gave them, (n, ...).
    """
    seen = torch.zeros(y.shape[1:], dtype=torch.bool, device=y.device)
    smallest, largest = float("inf"), -float("inf")
    # In parts: data may be larger than what memory holds a second time.
    for start in range(0, len(y), CHECKED_AT_ONCE):
        part = slice(start, start + CHECKED_AT_ONCE)
        filled, observed = _check_part(
            observation, y[part], None if mask is None else mask[part], start
        )
        if start == 0:
            check_shapes(made, filled[:1])
        _check_support(observation, made, filled, observed, start)
        seen |= observed.any(0)
        smallest = min(smallest, float(torch.where(observed, filled, torch.inf).min()))
        largest = max(largest, float(torch.where(observed, filled, -torch.inf).max()))
    _warn_of_link(observation, smallest, largest)
    never = ~seen
    if bool(never.any()) and y.shape[0] > 1:
        warnings.warn(
            f"{int(never.sum())} of {never.numel()} cells are observed in no example (first: "
            f"{list(first_place(never))}): nothing but the network's form tells about them",
            stacklevel=4,
        )


def as_floating(y: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return data of whole numbers or truth values in a precision, by default torch's own.

    Raises
    ------
    TypeError
        If they are complex.
    """
    if y.is_complex():
        raise TypeError(
            f"y must be real, got {y.dtype}: give real and imaginary parts as two columns, "
            "torch.view_as_real(y)"
        )
    return y if y.is_floating_point() else y.to(dtype or torch.get_default_dtype())


def warn_of_large_integers(y: Tensor, dtype: torch.dtype) -> None:
    """Warn of whole numbers that a precision rounds: those of float32 end at 2^24."""
    if y.is_floating_point() or y.dtype == torch.bool:
        return
    least = round(2 / torch.finfo(dtype).eps)
    large = y.to(torch.int64).abs() > least
    rounded = large & (y.to(dtype).to(torch.float64) != y.to(torch.float64))
    if bool(rounded.any()):
        place = first_place(rounded)
        value = y[place]
        warnings.warn(
            f"y{list(place)} = {int(value)} is {int(value.to(dtype))} in the model's {dtype}, "
            f"which holds whole numbers only up to {least}: take model.double(), or rescale y",
            stacklevel=4,
        )


def check_no_nan(observation: Observation, y: Tensor, start: int = 0) -> None:
    """Raise ValueError for NaN in the data of an observation without missing cells."""
    if bool(y.isnan().any()):
        name = type(observation).__name__
        raise ValueError(
            f"y{_place(y.isnan(), start)} is NaN, but the observation {name} has no missing "
            f"cells: write Masked({name}(...)) to treat NaN as not observed"
        )


def check_shapes(made: dist.TorchDistribution, y: Tensor) -> None:
    """Raise ValueError unless the distribution of y is one of examples of y's shape."""
    expected = made.batch_shape + made.event_shape
    if y.shape != expected or len(made.batch_shape) != 1:
        raise ValueError(
            f"y has shape {tuple(y.shape)}, but the observation of the network's output has batch "
            f"shape {tuple(made.batch_shape)} and event shape {tuple(made.event_shape)}: the "
            "batch shape must be (n,) and the event shape that of one example's data"
        )


def _check_part(
    observation: Observation, y: Tensor, mask: Tensor | None, start: int
) -> tuple[Tensor, Tensor]:
    """Return y without NaN and what is observed, after checking both."""
    y = as_floating(y)
    filled, observed = observation.prepare(y, mask)
    if observed is None:
        check_no_nan(observation, y, start)
        observed = torch.ones_like(y, dtype=torch.bool)
    _check_finite(filled, observed, start)
    return filled, observed


def check_values(
    observation: Observation, made: dist.TorchDistribution, y: Tensor, observed: Tensor | None
) -> None:
    """Raise ValueError for observed values that are infinite or cannot be.

    Parameters
    ----------
    observation, made
        Of the data, and what it gives for one example.
    y, observed : Tensor
        As the observation has prepared them, (n, ...).
    """
    known = torch.ones_like(y, dtype=torch.bool) if observed is None else observed
    _check_finite(y, known, 0)
    _check_support(observation, made, y, known, 0)


def _check_finite(y: Tensor, observed: Tensor, start: int) -> None:
    infinite = y.isinf() & observed
    if bool(infinite.any()):
        value = float(y[first_place(infinite)])
        raise ValueError(f"y{_place(infinite, start)} must be finite, got {value}")


def _check_support(
    observation: Observation, made: dist.TorchDistribution, y: Tensor, observed: Tensor, start: int
) -> None:
    support = elementwise(made.support)
    if support.event_dim > 0:
        return
    outside = ~support.check(y) & observed
    if bool(outside.any()):
        value = float(y[first_place(outside)])
        raise ValueError(
            f"y{_place(outside, start)} = {value:g} is outside the support of the observation "
            f"{type(observation).__name__}, which is {support}"
        )


def _warn_of_link(observation: Observation, smallest: float, largest: float) -> None:
    low, high = observation.link_range()
    slack = high - low
    if smallest < low - slack or largest > high + slack:
        warnings.warn(
            f"y ranges from {smallest:g} to {largest:g}, but the observation's inverse link "
            f"reaches only from {low:g} to {high:g}: scale y to that range, for bytes and a "
            "tanh y / 127.5 - 1",
            stacklevel=5,
        )


def _place(flags: Tensor, start: int) -> list[int]:
    """Return the index of the first true element of a part that begins at ``start``."""
    example, *rest = first_place(flags)
    return [start + example, *rest]
