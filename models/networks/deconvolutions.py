"""Deconvolutions with what stands between them: the layers of all top-down ConvNets here."""

import itertools
from collections.abc import Callable

from torch import nn

from ..arguments import check_sizes

DECONVOLUTIONS = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def deconvolutions(
    dimensions: int,
    widths: list[int],
    filter_size: int,
    upsampling: int,
    batch_norm: bool,
    activation: Callable[[], nn.Module],
) -> list[nn.Module]:
    """Return the layers of an up-sampling network, each multiplying sizes by ``upsampling``.

    Parameters
    ----------
    dimensions : int
        1, 2 or 3: of a sound, an image, a video clip.
    widths : list of int
        Channels, from those of the map above the first deconvolution to those of the data.
    filter_size, upsampling, batch_norm, activation
        As in :func:`texture_deconvnet`; normalisation and activation follow all but the last.

    Raises
    ------
    ValueError
        If a size is not positive, or ``upsampling`` does not lie between 2 and ``filter_size``.
    """
    check_sizes(filter_size=(filter_size,), upsampling=(upsampling,))
    if not 2 <= upsampling <= filter_size:
        raise ValueError(
            f"upsampling must lie between 2 and filter_size ({filter_size}), got {upsampling}: "
            "filters further apart than their size leave cells out"
        )
    # What a filter reaches beyond its own cell is cut off on both sides, so that sizes multiply.
    padding, uneven = divmod(filter_size - upsampling + 1, 2)
    layers: list[nn.Module] = []
    for layer, (above, below) in enumerate(itertools.pairwise(widths)):
        last = layer == len(widths) - 2
        layers.append(
            DECONVOLUTIONS[dimensions](
                above,
                below,
                filter_size,
                stride=upsampling,
                padding=padding,
                output_padding=1 - uneven,
                bias=last or not batch_norm,
            )
        )
        if not last:
            if batch_norm:
                layers.append(BATCH_NORMS[dimensions](below))
            layers.append(activation())
    return layers
