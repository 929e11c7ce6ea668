"""Errors of recoveries and of forecasts."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from explainaway.evaluation import recovery_error


class Outcome(NamedTuple):
    """What the methods made, what was chosen, CPU minutes of learning, new videos by name."""

    made: dict[str, Tensor]
    chosen: dict[str, Any]
    minutes: dict[str, float]
    synthesis: Mapping[str, Tensor] = MappingProxyType({})


def of_recovery(video: Tensor, seen: Tensor, made: Tensor) -> dict[str, float]:
    """Return errors of the cells that were hidden, of the range."""
    error = recovery_error(video.numpy(), seen.numpy(), made.clamp(-1, 1).numpy())
    return {"rmse": error.rmse, "mae": error.mae}


def of_synthesis(video: Tensor, made: Tensor) -> dict[str, float]:
    """Return how a new video (T, 3, h, w) differs from a true one, a ratio of root mean squares.

    Of the deviation from the mean frame, of the change from frame to frame, and of the change from
    pixel to pixel. All are 1 for a perfect synthesis; a blurred one has a small sharpness.
    """
    true, new = _sizes(video), _sizes(made)
    return {name: new[name] / true[name] for name in true}


def _sizes(video: Tensor) -> dict[str, float]:
    parts = {
        "contrast": video - video.mean(0),
        "speed": video.diff(dim=0),
        "sharpness": video.diff(dim=-1),
    }
    return {name: float(part.square().mean().sqrt()) for name, part in parts.items()}


def of_forecasts(target: Tensor, made: Tensor) -> dict[str, float]:
    """Return errors of forecasts (origins, steps, 3, h, w) at the first and the last step."""
    off = (made.clamp(-1, 1) - target) / 2
    numbers = {}
    for step in (1, off.shape[1]):
        at = off[:, step - 1]
        numbers[f"rmse {step}"] = float(at.square().mean().sqrt())
        numbers[f"mae {step}"] = float(at.abs().mean())
    numbers[f"rmse 1 to {off.shape[1]}"] = float(off.square().mean().sqrt())
    return numbers
