"""What is believed of a latent before its data are seen."""

from .base import Prior
from .normal import Normal
from .recurrent import Recurrent
from .sequence import SequencePrior
from .var import VAR

__all__ = ["VAR", "Normal", "Prior", "Recurrent", "SequencePrior"]
