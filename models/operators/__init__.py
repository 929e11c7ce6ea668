"""Linear operators between a signal and its measurements, each with its adjoint."""

from .base import Composition, LinearOperator
from .blur import Blur
from .downsample import Downsample
from .greyscale import Greyscale
from .identity import Identity
from .per_example import PerExample
from .random_projection import RandomProjection
from .subsampled_fourier import SubsampledFourier

__all__ = [
    "Blur",
    "Composition",
    "Downsample",
    "Greyscale",
    "Identity",
    "LinearOperator",
    "PerExample",
    "RandomProjection",
    "SubsampledFourier",
]
