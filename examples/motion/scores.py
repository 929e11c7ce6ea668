"""Errors of recoveries and of forecasts."""

from typing import Any, NamedTuple

from torch import Tensor

from explainaway.evaluation import recovery_error


class Outcome(NamedTuple):
    """What the methods made: videos by name, what was chosen for them, CPU minutes of learning."""

    made: dict[str, Tensor]
    chosen: dict[str, Any]
    minutes: dict[str, float]


def of_recovery(video: Tensor, seen: Tensor, made: Tensor) -> dict[str, float]:
    """Return errors of the cells that were hidden, of the range."""
    error = recovery_error(video.numpy(), seen.numpy(), made.clamp(-1, 1).numpy())
    return {"rmse": error.rmse, "mae": error.mae}


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
