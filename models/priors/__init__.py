"""What is believed of a latent before its data are seen."""

from .base import Prior
from .normal import Normal

__all__ = ["Normal", "Prior"]
