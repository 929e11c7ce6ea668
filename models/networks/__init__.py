"""From latents to what is observed: networks that end linear, and what they are piece by piece."""

from .convolutional import sound_deconvnet, texture_deconvnet, video_deconvnet
from .generators import deconvnet, linear, mlp
from .over_time import OverTime
from .piecewise import LinearPiece, activation_pattern, linear_piece

__all__ = [
    "LinearPiece",
    "OverTime",
    "activation_pattern",
    "deconvnet",
    "linear",
    "linear_piece",
    "mlp",
    "sound_deconvnet",
    "texture_deconvnet",
    "video_deconvnet",
]
