"""Checks of arguments: the name, what was given, where, and what was expected."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, TypeGuard

import torch
from torch import Tensor

from .turns import TURNS


def first_place(flags: Tensor) -> tuple[int, ...]:
    """Return the index of the first true element."""
    return tuple(int(i) for i in torch.nonzero(flags)[0])


def is_integer(value: Any) -> TypeGuard[int]:
    """Return whether a value is an integer of Python or NumPy; a truth value is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless an argument is a positive integer."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


@contextmanager
def seeded_draws(seed: int) -> Iterator[None]:
    """Run torch's global random state from a seed, and put it back afterwards, on all devices."""
    devices: list[int] = []
    kind = None
    if torch.accelerator.is_available():
        # Named, or torch warns where there are several.
        devices = list(range(torch.accelerator.device_count()))
        kind = torch.accelerator.current_accelerator()
    with TURNS, torch.random.fork_rng(devices, device_type=kind.type if kind else "cuda"):
        torch.manual_seed(seed)
        yield


def gradients_of(latents: Tensor) -> torch.set_grad_enabled:
    """Record gradients if they were asked for: if the latents require one."""
    return torch.set_grad_enabled(torch.is_grad_enabled() and latents.requires_grad)


def as_sizes(value: Any) -> tuple[Any, ...]:
    """Return one size, or several, as a tuple."""
    return (value,) if is_integer(value) else tuple(value)


def check_sizes(**sizes: tuple[int, ...]) -> None:
    """Raise ValueError unless arguments hold positive integers."""
    for name, values in sizes.items():
        if any(not is_integer(value) or value < 1 for value in values):
            raise ValueError(f"{name} must hold positive integers, got {values}")


def checked_positive(name: str, value: float | Tensor) -> Tensor:
    """Return a number or a tensor as a tensor of its own, in torch's default precision.

    Raises
    ------
    ValueError
        If an element is not positive and finite.
    """
    tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach().clone()
    if not bool(((tensor > 0) & tensor.isfinite()).all()):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return tensor


def per_component(
    name: str, value: float | Tensor, shape: tuple[int, ...], positive: bool = False
) -> Tensor:
    """Return a number, or a tensor that broadcasts to a latent's shape, as a tensor of its own.

    Raises
    ------
    ValueError
        If it has another shape, or an element is not finite or, where asked for, not positive.
    """
    tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach()
    try:
        whole = tensor.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"{name} must be a number or have shape {shape}, got shape {tuple(tensor.shape)}"
        ) from None
    wrong = ~tensor.isfinite()
    if positive:
        wrong |= ~(tensor > 0)
    if bool(wrong.any()):
        kind = "positive and finite" if positive else "finite"
        place = first_place(wrong)
        where = f" at {list(place)}" if place else ""
        raise ValueError(f"{name} must be {kind}, got {float(tensor[place])}{where}")
    return whole.clone()
