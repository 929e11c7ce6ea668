"""Checks of what every prior of independent components is given."""

import torch
from torch import Tensor


def check_dim(dim: int) -> None:
    """Raise ValueError unless ``dim`` is a positive integer."""
    check_count("dim", dim)


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless an argument is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


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
        place = torch.nonzero(wrong)[0].tolist()
        where = f" at {place}" if place else ""
        raise ValueError(f"{name} must be {kind}, got {float(tensor[tuple(place)])}{where}")
    return whole.clone()
