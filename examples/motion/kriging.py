"""What is left of a video is kriged: its neighbours in space and time tell of it."""

import torch
from torch import Tensor

from explainaway.space_time_kriging import draw_fields, fit_covariance, krige


def with_residual(seen: Tensor, estimate: Tensor) -> Tensor:
    """Add to a recovery (T, 3, h, w) what the cells that were seen (NaN: hidden) tell beside it."""
    residual = (seen - estimate).transpose(0, 1)
    covariance = fit_covariance(residual, len(seen))
    return estimate + krige(residual, covariance).transpose(0, 1)


def ahead_with_residual(known: Tensor, now: Tensor, ahead: Tensor) -> Tensor:
    """Add to forecasts what the residuals of the last frames before them tell.

    Parameters
    ----------
    known : Tensor, (T, 3, h, w)
        Residuals that tell the covariance.
    now : Tensor, (origins, K, 3, h, w)
        Residuals of the last frames before each origin.
    ahead : Tensor, (origins, H, 3, h, w)
        Forecasts.
    """
    count, frames = now.shape[:2]
    whole = torch.cat([now, torch.full_like(ahead, torch.nan)], 1)  # (origins, K + H, 3, h, w)
    fields = whole.transpose(1, 2).flatten(0, 1)
    covariance = fit_covariance(known.transpose(0, 1), whole.shape[1])
    told: Tensor = krige(fields, covariance).unflatten(0, (count, -1)).transpose(1, 2)
    return ahead + told[:, frames:]


def with_drawn_residual(past: Tensor, fitted: Tensor, new: Tensor, seed: int) -> Tensor:
    """Add to a new video (T, 3, h, w) a residual like that of a fitted one.

    A Gaussian field with the residual's covariance in space and time, in units of each pixel's
    deviation; colours are correlated as they are.
    """
    residual = (past - fitted).transpose(0, 1)
    deviation = residual.square().mean((0, 1)).sqrt()
    fields = residual / deviation
    covariance = fit_covariance(fields, len(new))
    drawn = draw_fields(covariance, (3, len(new), *new.shape[2:]), seed)
    root = torch.linalg.cholesky(torch.corrcoef(fields.flatten(1)) + 1e-4 * torch.eye(3))
    coloured: Tensor = torch.tensordot(root, drawn, 1)
    return new + (deviation * coloured).transpose(0, 1)
