"""Fully convolutional generators: the latent is a map, and a larger map gives larger data.

Plain ``nn.Sequential`` modules that end linear, for images, sounds and video clips.
"""

from collections.abc import Callable

from torch import nn

from ..arguments import check_sizes
from .deconvolutions import deconvolutions


def texture_deconvnet(
    latent_channels: int = 1,
    channels: int = 3,
    num_layers: int = 5,
    width: int = 64,
    filter_size: int = 5,
    upsampling: int = 2,
    batch_norm: bool = False,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return the paper's generator of stationary images.

    Without a fully connected layer the network has no size of its own: learned from 224x224 images
    with the prior ``Normal((1, 7, 7))`` it generates 448x448 ones from ``Normal((1, 14, 14))``.

    Parameters
    ----------
    latent_channels : int, default 1
        Channels of the latent map.
    channels : int, default 3
        Channels of the image.
    num_layers : int, default 5
        Deconvolutions; each multiplies height and width by ``upsampling``.
    width : int, default 64
        Channels of the last hidden layer, doubled at each layer above it.
    filter_size : int, default 5
        Side of each filter, at least ``upsampling`` so that no cell is left out.
    upsampling : int, default 2
        Distance of neighbouring filters in pixels, at least 2.
    batch_norm : bool, default False
        Batch normalisation after each hidden layer, as in the paper. Inference uses its running
        statistics.
    activation : callable, default nn.ReLU
        Makes the non-linearity that follows each hidden layer.

    Returns
    -------
    nn.Sequential
        From (n, latent_channels, h, w) to (n, channels, h·u, w·u) with
        u = upsampling ** num_layers.

    Raises
    ------
    ValueError
        If a size is not positive, or ``upsampling`` does not lie between 2 and ``filter_size``.

    References
    ----------
    Han et al. (2017), Experiment 1.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import texture_deconvnet
    >>> texture_deconvnet(num_layers=3, width=4)(torch.randn(2, 1, 5, 7)).shape
    torch.Size([2, 3, 40, 56])
    """
    widths = _widths(latent_channels, channels, num_layers, width)
    return nn.Sequential(
        *deconvolutions(2, widths, filter_size, upsampling, batch_norm, activation)
    )


def sound_deconvnet(
    latent_channels: int = 1,
    channels: int = 1,
    num_layers: int = 4,
    width: int = 64,
    filter_size: int = 25,
    upsampling: int = 10,
    batch_norm: bool = False,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return the paper's generator of stationary sounds.

    Learned from clips of 60,000 samples with the prior ``Normal((1, 6))``, it generates clips of
    120,000 from ``Normal((1, 12))``.

    Parameters
    ----------
    latent_channels : int, default 1
        Channels of the latent sequence.
    channels : int, default 1
        Channels of the sound: 1 is mono, 2 stereo.
    num_layers : int, default 4
        Deconvolutions; each multiplies the length by ``upsampling``.
    width, filter_size, upsampling, batch_norm, activation
        As in :func:`texture_deconvnet`, in samples.

    Returns
    -------
    nn.Sequential
        From (n, latent_channels, length) to (n, channels, length · upsampling ** num_layers).

    Raises
    ------
    ValueError
        As :func:`texture_deconvnet`.

    References
    ----------
    Han et al. (2017), Experiment 2.
    """
    widths = _widths(latent_channels, channels, num_layers, width)
    return nn.Sequential(
        *deconvolutions(1, widths, filter_size, upsampling, batch_norm, activation)
    )


def video_deconvnet(
    latent_channels: int = 1,
    channels: int = 3,
    num_layers: int = 4,
    width: int = 64,
    filter_size: int = 5,
    upsampling: int = 2,
    batch_norm: bool = False,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return a generator of video clips by spatio-temporal filters.

    The texture generator with time as a third dimension: stationary in space and time, of any
    size. For a scene that stays in its place, give each frame a latent of its own
    (:class:`OverTime`, :class:`VAR`).

    Parameters
    ----------
    latent_channels : int, default 1
        Channels of the latent map.
    channels : int, default 3
        Channels of a frame.
    num_layers : int, default 4
        Deconvolutions; each multiplies time, height and width by ``upsampling``.
    width, filter_size, upsampling, batch_norm, activation
        As in :func:`texture_deconvnet`, in frames and pixels.

    Returns
    -------
    nn.Sequential
        From (n, latent_channels, t, h, w) to (n, channels, t·u, h·u, w·u) with
        u = upsampling ** num_layers.

    Raises
    ------
    ValueError
        As :func:`texture_deconvnet`.
    """
    widths = _widths(latent_channels, channels, num_layers, width)
    return nn.Sequential(
        *deconvolutions(3, widths, filter_size, upsampling, batch_norm, activation)
    )


def _widths(latent_channels: int, channels: int, num_layers: int, width: int) -> list[int]:
    check_sizes(
        latent_channels=(latent_channels,),
        channels=(channels,),
        num_layers=(num_layers,),
        width=(width,),
    )
    hidden = [width * 2**above for above in reversed(range(num_layers - 1))]
    return [latent_channels, *hidden, channels]
