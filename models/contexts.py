"""Contexts of several rows of latents for each example, and what of them was read."""

from torch import Size, Tensor

from .data_checks import check_context
from .pieces import Context, Read


def repeated(value: Tensor, times: int) -> Tensor:
    """Return rows several times, one whole copy after the other."""
    return value.repeat(times, *[1] * (value.dim() - 1))


def for_latents(name: str, value: Tensor, leading: Size) -> Tensor:
    """Return values of n examples for each row of latents (..., n).

    Raises
    ------
    ValueError
        If the values are not those of n examples.
    """
    if value.shape[:1] != leading[-1:]:
        raise ValueError(
            f"{name} must have the example as its first dimension, of size {leading[-1]} as the "
            f"latents, got shape {tuple(value.shape)}"
        )
    return repeated(value, leading[:-1].numel())


def read_for_latents(
    context: Context | None, leading: Size, like: Tensor | None = None
) -> Read | None:
    """Return a context for latents (..., n) that keeps what is read of it.

    Parameters
    ----------
    context : mapping of Tensor, optional
        Of n examples.
    leading : Size
        The latents' leading dimensions.
    like : Tensor, optional
        On whose device and, of floating-point numbers, in whose dtype it is returned.
    """
    if context is None:
        return None
    read = {}
    for key, value in check_context(context).items():
        if like is not None:
            value = value.to(like.device, like.dtype if value.is_floating_point() else None)
        read[key] = for_latents(f"context[{key!r}]", value, leading)
    return Read(read)


def check_read(read: Read | None) -> None:
    """Raise ValueError for keys that no piece has asked for."""
    if read is not None and read.unread:
        raise ValueError(
            f"context holds {read.unread}, which no piece of the model reads: prior and "
            f"observation read {sorted(read.asked) or 'none'}"
        )
