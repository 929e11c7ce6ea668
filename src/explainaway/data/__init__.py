"""Data: images, videos and sounds from files, the digits inside scikit-learn, and masks."""

from .digits import Digits, digits
from .found import MissingDataError
from .images import load_images, load_video
from .masks import blocks_observed, square_observed
from .sounds import load_sound

__all__ = [
    "Digits",
    "MissingDataError",
    "blocks_observed",
    "digits",
    "load_images",
    "load_sound",
    "load_video",
    "square_observed",
]
