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


def per_component(name: str, value: float | Tensor, dim: int, positive: bool = False) -> Tensor:
    """Return a number or a tensor (d,) as a tensor (d,) of its own.

    Raises
    ------
    ValueError
        If it has another shape, or an element is not finite or, where asked for, not positive.
    """
    tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach()
    if tensor.dim() > 1 or (tensor.dim() == 1 and tensor.shape[0] not in (1, dim)):
        raise ValueError(
            f"{name} must be a number or have shape ({dim},), got shape {tuple(tensor.shape)}"
        )
    wrong = ~tensor.isfinite()
    if positive:
        wrong |= ~(tensor > 0)
    if bool(wrong.any()):
        kind = "positive and finite" if positive else "finite"
        first = int(torch.nonzero(wrong.reshape(-1))[0])
        place = f" at [{first}]" if tensor.dim() else ""
        raise ValueError(f"{name} must be {kind}, got {float(tensor.reshape(-1)[first])}{place}")
    return tensor.expand(dim).clone()
