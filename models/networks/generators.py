"""Top-down networks; plain ``nn.Sequential`` modules that end linear."""

import math
from collections.abc import Callable, Sequence

from torch import nn

from ..arguments import as_sizes, check_sizes
from .deconvolutions import deconvolutions
from .non_negative_linear import NonNegativeLinear


def mlp(
    latent_dim: int,
    shape: int | Sequence[int],
    hidden: Sequence[int] = (256, 256),
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return a fully connected generator.

    Parameters
    ----------
    latent_dim : int
        Number of latent components d.
    shape : int or sequence of int
        Shape of one example's data.
    hidden : sequence of int, default (256, 256)
        Width of each hidden layer, from the top down; empty for a linear generator.
    activation : callable, default nn.ReLU
        Makes the non-linearity that follows each hidden layer.

    Returns
    -------
    nn.Sequential
        From (n, d) to (n, ...), ending linear.

    Raises
    ------
    ValueError
        If a size is not positive.
    """
    shape = as_sizes(shape)
    check_sizes(latent_dim=(latent_dim,), shape=shape, hidden=tuple(hidden))
    layers: list[nn.Module] = []
    width = latent_dim
    for size in hidden:
        layers += [nn.Linear(width, size), activation()]
        width = size
    layers.append(nn.Linear(width, math.prod(shape)))
    if len(shape) > 1:
        layers.append(nn.Unflatten(1, shape))
    return nn.Sequential(*layers)


def linear(
    latent_dim: int, shape: int | Sequence[int], non_negative: bool = False, bias: bool = True
) -> nn.Sequential:
    """Return a linear generator, ``z -> W z + b``.

    Under a normal prior that is factor analysis; under heavy-tailed independent latents,
    independent component analysis; under non-negative ones and with non-negative weights,
    non-negative matrix factorisation.

    Parameters
    ----------
    latent_dim : int
        Number of latent components d.
    shape : int or sequence of int
        Shape of one example's data.
    non_negative : bool, default False
        Keep W and b from being negative, as ``softplus`` of their parameters.
    bias : bool, default True
        Whether there is a b.

    Returns
    -------
    nn.Sequential
        From (n, d) to (n, ...).

    Raises
    ------
    ValueError
        If a size is not positive.
    """
    shape = as_sizes(shape)
    check_sizes(latent_dim=(latent_dim,), shape=shape)
    kind = NonNegativeLinear if non_negative else nn.Linear
    layers: list[nn.Module] = [kind(latent_dim, math.prod(shape), bias=bias)]
    if len(shape) > 1:
        layers.append(nn.Unflatten(1, shape))
    return nn.Sequential(*layers)


def deconvnet(
    latent_dim: int = 100,
    shape: Sequence[int] = (3, 64, 64),
    width: int = 64,
    batch_norm: bool = False,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return the paper's top-down ConvNet for images of objects.

    A fully connected top layer gives a small map (4x4 for an image of side 64); each
    deconvolution, 5x5 with up-sampling by 2, doubles its side; a ReLU, after batch normalisation if
    asked for, follows all but the last.

    Parameters
    ----------
    latent_dim : int, default 100
        Number of latent components d.
    shape : (int, int, int), default (3, 64, 64)
        Channels, height, width of one image; height and width are halved while both stay even and
        at least 4.
    width : int, default 64
        Channels of the last hidden layer, doubled at each layer above it.
    batch_norm : bool, default False
        Batch normalisation after each hidden layer, as in the paper. Inference uses its running
        statistics; faces were recovered worse with it at equal time.
    activation : callable, default nn.ReLU
        Makes the non-linearity.

    Returns
    -------
    nn.Sequential
        From (n, d) to (n, ...), ending linear: the paper's tanh is the observation's inverse
        link.

    Raises
    ------
    ValueError
        If a size is not positive, or height and width cannot be halved once.

    References
    ----------
    Han et al. (2017), Experiments 2 and 3; the form of Radford, Metz & Chintala (2016).
    """
    if len(tuple(shape)) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {tuple(shape)}")
    channels, height, side = shape
    check_sizes(latent_dim=(latent_dim,), shape=tuple(shape), width=(width,))
    doublings = 0
    while height % 2 == 0 and side % 2 == 0 and min(height, side) >= 8:
        height, side, doublings = height // 2, side // 2, doublings + 1
    if doublings == 0:
        raise ValueError(
            f"shape must have an even height and width of at least 8, got {tuple(shape)}: pad or "
            "crop the images, or use mlp"
        )
    widths = [width * 2**above for above in reversed(range(doublings))]
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, widths[0] * height * side, bias=not batch_norm),
        nn.Unflatten(1, (widths[0], height, side)),
    ]
    if batch_norm:
        layers.append(nn.BatchNorm2d(widths[0]))
    layers.append(activation())
    layers += deconvolutions(2, [*widths, channels], 5, 2, batch_norm, activation)
    return nn.Sequential(*layers)
