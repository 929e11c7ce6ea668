"""Settings of learning that compete with each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explainaway.inference import HMC, MALA, AlternatingBackProp, RelativeAdam
from explainaway.models import FactorAnalysis, Gaussian, GeneratorModel, Masked

from .known import NotAvailableError, Trial

Start = Callable[[Trial], None]


@dataclass(frozen=True)
class Candidate:
    """Named settings.

    Attributes
    ----------
    name : str
    settings : mapping
        Of :class:`AlternatingBackProp`.
    epochs : int or "auto", default 100
    learn_prior : bool, default False
        Whether a normal prior is learned.
    half_averaged : bool, default False
        Whether the mean of θ over the second half of the epochs is what was learned.
    start : callable, optional
        Sets first parameters.
    fit : mapping
        More that ``fit`` is given.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | str = 100
    learn_prior: bool = False
    half_averaged: bool = False
    start: Start | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)

    def loop(self, model: Any, epochs: int | str) -> AlternatingBackProp:
        """Return the loop that learns a model in so many epochs."""
        made = {key: value for key, value in self.settings.items() if key != "scheduler"}
        if "scheduler" in self.settings:
            made["scheduler"] = partial(self.settings["scheduler"], epochs=epochs)
        if self.half_averaged:
            assert isinstance(epochs, int)
            made["average_from"] = epochs // 2
        return AlternatingBackProp(model, **made)


def adam(parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
    """Return Adam."""
    return torch.optim.Adam(parameters, lr=lr)


def cosine(optimizer: torch.optim.Optimizer, epochs: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return rates that fall to zero along a cosine."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)


def falling(optimizer: torch.optim.Optimizer, epochs: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return rates that are constant for 60 % of the epochs, then fall linearly to zero."""

    def rate(epoch: int) -> float:
        return min(1.0, (epochs - epoch) / (0.4 * epochs))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def start_at_factor_analysis(trial: Trial) -> None:
    """Set a linear generator to what factor analysis finds.

    Raises
    ------
    NotAvailableError
        If the model is not a linear generator of a table.
    """
    model = trial.model
    layers = list(model.network.children()) if isinstance(model, GeneratorModel) else []
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        raise NotAvailableError("a start at factor analysis: the model is not linear")
    layer, observation = layers[0], model.observation
    noise = observation.base if isinstance(observation, Masked) else observation
    if not isinstance(noise, Gaussian):
        raise NotAvailableError("a start at factor analysis: the noise is not Gaussian")
    (y,) = trial.args
    scale = noise.log_scale
    fitted = FactorAnalysis(
        layer.in_features, noise="diagonal" if scale.numel() > 1 else "isotropic", max_iter=5000
    ).fit(y.double().numpy())
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(fitted.components_.T)))
        layer.bias.copy_(torch.from_numpy(fitted.mean_))
        if scale.requires_grad:
            found = torch.from_numpy(fitted.noise_variance_).log() / 2
            scale.copy_(found.reshape(-1)[: scale.numel()].reshape(scale.shape))


def _adam(lr: float, **more: Any) -> dict[str, Any]:
    return {"optimizer": partial(adam, lr=lr), "batch_size": 100, **more}


_TRAJECTORIES = {"kernel": HMC(10), "inference_steps": 1}
_RELATIVE = {"optimizer": RelativeAdam, "scheduler": falling}

CANDIDATES: dict[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate("library", epochs="auto"),
        Candidate("library_prior", epochs="auto", learn_prior=True),
        Candidate("library_all_cells", epochs="auto", fit={"hold_out": None}),
        Candidate("library_hmc5", {"kernel": HMC(5), "inference_steps": 2}, epochs="auto"),
        Candidate(
            "library_prior_hmc5",
            {"kernel": HMC(5), "inference_steps": 2},
            epochs="auto",
            learn_prior=True,
        ),
        Candidate("library_hmc", _TRAJECTORIES, epochs="auto"),
        Candidate("library_prior_hmc", _TRAJECTORIES, epochs="auto", learn_prior=True),
        Candidate("adam_1e-3", _adam(1e-3)),
        Candidate("adam_1e-3_300", _adam(1e-3), epochs=300),
        Candidate("adam_1e-2_cosine", _adam(1e-2, scheduler=cosine)),
        Candidate("adam_2e-2_mean", _adam(2e-2), half_averaged=True),
        Candidate(
            "adam_1e-2_cosine_hmc",
            _adam(1e-2, scheduler=cosine, kernel=HMC(6), inference_steps=2),
        ),
        Candidate("adam_1e-2_cosine_mass", _adam(1e-2, scheduler=cosine, kernel=MALA(mass="auto"))),
        Candidate("factor_analysis_start", _adam(1e-3), start=start_at_factor_analysis),
        Candidate("adam_1e-2_falling_prior", _adam(1e-2, scheduler=falling), learn_prior=True),
        Candidate("relative_falling", _RELATIVE),
        Candidate("relative_falling_prior", _RELATIVE, learn_prior=True),
        Candidate(
            "relative_falling_prior_all_cells",
            _RELATIVE,
            learn_prior=True,
            fit={"hold_out": None},
        ),
    )
}
"""What is compared, by name."""
