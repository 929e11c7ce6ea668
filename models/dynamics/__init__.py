"""Latents that move: dynamics fitted to sequences, what follows them, and the linear baseline."""

from ..distributions.stationary import stationary_covariance
from .forecasting import Forecast, forecast
from .linear_dynamics import LinearDynamics, least_squares, yule_walker
from .synthesis import synthesise
from .texture import DynamicTexture, dynamic_texture

__all__ = [
    "DynamicTexture",
    "Forecast",
    "LinearDynamics",
    "dynamic_texture",
    "forecast",
    "least_squares",
    "stationary_covariance",
    "synthesise",
    "yule_walker",
]
