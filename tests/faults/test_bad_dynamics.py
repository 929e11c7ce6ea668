"""Each mistake with maps, pieces and sequences raises one error that says what was expected."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from explainaway.inference import bind
from explainaway.models import (
    VAR,
    Gaussian,
    GeneratorModel,
    LinearDynamics,
    Masked,
    Normal,
    OverTime,
    Recurrent,
    dynamic_texture,
    forecast,
    mlp,
    sound_deconvnet,
    texture_deconvnet,
    video_deconvnet,
)
from explainaway.models.dynamics import (
    least_squares,
    stationary_covariance,
    synthesise,
    yule_walker,
)
from explainaway.models.networks import activation_pattern, linear_piece

ROTATION = torch.tensor([[0.0, -1.2], [1.2, 0.0]])
SHEAR = torch.tensor([[0.5, 3.0], [0.0, 0.5]])


def _sequences(length: int = 4) -> GeneratorModel:
    return GeneratorModel(VAR(2, length), OverTime(mlp(2, (3,))), Masked(Gaussian(0.3)))


def _frames() -> GeneratorModel:
    return GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.3))


def _synthesise(**more: int) -> None:
    dynamics = LinearDynamics(torch.zeros(2, 2), torch.eye(2))
    synthesise(_frames(), dynamics, **{"num_frames": 2, "seed": 0, **more})


TABLE: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "unstable",
        lambda: VAR(2, 4, ROTATION, 1.0),
        ValueError,
        r"transition must be stable, the largest modulus of its eigenvalues below 1, got 1\.2:",
    ),
    ("a random walk", lambda: VAR(1, 4, 1.0, 1.0), ValueError, "modulus.* below 1, got 1:"),
    (
        "unstable covariance",
        lambda: stationary_covariance(ROTATION, torch.eye(2)),
        ValueError,
        r"transition must be stable.*got 1\.2",
    ),
    (
        "stretches",
        lambda: VAR(2, 4, SHEAR),
        ValueError,
        r"innovation must be given for a transition.*largest singular value 3\.08",
    ),
    (
        "transition's shape",
        lambda: VAR(3, 4, torch.eye(2) / 2),
        ValueError,
        r"transition must be a number or have shape \(3, 3\), got shape \(2, 2\)",
    ),
    (
        "transition not finite",
        lambda: VAR(1, 4, torch.tensor([[torch.nan]])),
        ValueError,
        "transition must be finite",
    ),
    (
        "innovation's shape",
        lambda: VAR(2, 4, 0.5, torch.ones(2)),
        ValueError,
        r"innovation must be a number or have shape \(2, 2\), got shape \(2,\)",
    ),
    (
        "innovation not symmetric",
        lambda: VAR(2, 4, 0.5, torch.tensor([[1.0, 0.5], [0.0, 1.0]])),
        ValueError,
        r"innovation must be symmetric.*up to 0\.5",
    ),
    (
        "innovation not positive",
        lambda: VAR(2, 4, 0.5, torch.tensor([[1.0, 2.0], [2.0, 1.0]])),
        ValueError,
        "innovation must be positive definite, got a smallest eigenvalue of -1",
    ),
    ("no length", lambda: VAR(2, 0), ValueError, "length must be a positive integer, got 0"),
    ("no dim", lambda: Recurrent(0, 3), ValueError, "dim must be a positive integer, got 0"),
    (
        "no hidden",
        lambda: Recurrent(2, 3, hidden=0),
        ValueError,
        "hidden must be a positive integer, got 0",
    ),
    (
        "another length",
        lambda: Recurrent(2, 3).of_length(0),
        ValueError,
        "length must be a positive integer, got 0",
    ),
    ("learn", lambda: VAR(2, 3, learn="A"), ValueError, 'learn must be True, False, "transition"'),
    (
        "sequences of another length",
        lambda: bind(_sequences(4), torch.zeros(2, 5, 3)),
        ValueError,
        r"y has shape \(1, 5, 3\).*event shape \(4, 3\)",
    ),
    (
        "frames for sequences",
        lambda: bind(_sequences(4), torch.zeros(2, 3)),
        ValueError,
        r"y has shape \(1, 3\).*event shape \(4, 3\)",
    ),
    (
        "OverTime over frames",
        lambda: GeneratorModel(Normal(2), OverTime(mlp(2, 3)), Gaussian()).generate(2, seed=0),
        ValueError,
        r"latents must be sequences, \(n, T, \.\.\.\).*got shape \(2, 2\)",
    ),
    ("OverTime of a number", lambda: OverTime(3), TypeError, "network must be an nn.Module, got 3"),
    (
        "forecast of frames",
        lambda: forecast(_frames(), torch.zeros(2, 2), 3, seed=0),
        TypeError,
        r"model must have a prior of sequences \(VAR, Recurrent\).*got Normal",
    ),
    (
        "forecast of nothing",
        lambda: forecast(_sequences(), torch.zeros(2, 4, 2), 0, seed=0),
        ValueError,
        "num_frames must be a positive integer, got 0",
    ),
    (
        "forecast from other sequences",
        lambda: forecast(_sequences(), torch.zeros(2, 5, 2), 3, seed=0),
        ValueError,
        r"latents must have shape \(\.\.\., n, 4, 2\), got \(2, 5, 2\)",
    ),
    ("burn-in", lambda: _synthesise(burn_in=-1), ValueError, "burn_in at least 0, got 2 and -1"),
    ("no frames", lambda: _synthesise(num_frames=0), ValueError, "num_frames must be at least 1"),
    (
        "too few pairs",
        lambda: least_squares(torch.zeros(1, 4, 2)),
        ValueError,
        "at least 4 pairs of neighbours for 2 components, got 3 in 1 sequences of length 4",
    ),
    (
        "negative prior of least squares",
        lambda: least_squares(torch.randn(1, 9, 2), prior_states=-1.0),
        ValueError,
        "prior_states must not be negative, got -1.0",
    ),
    (
        "prior states without closed form",
        lambda: VAR(2, 3, learn=True, prior_states=4.0),
        ValueError,
        r'prior_states must be positive, and is for learn="closed form", got 4.0 with learn=True',
    ),
    (
        "no prior states",
        lambda: VAR(2, 3, learn="closed form", prior_states=0.0),
        ValueError,
        "prior_states must be positive.*got 0.0",
    ),
    ("no time", lambda: yule_walker(torch.zeros(4)), ValueError, r"latents must have shape \(\.\."),
    (
        "texture of too many states",
        lambda: dynamic_texture(torch.zeros(4, 3), 5),
        ValueError,
        "dim must lie between 1 and the number of frames, 4, got 5",
    ),
    (
        "texture with holes",
        lambda: dynamic_texture(torch.full((4, 3), torch.nan), 2),
        ValueError,
        "frames must be finite: this closed form has no missing cells",
    ),
    (
        "no channels",
        lambda: texture_deconvnet(channels=0),
        ValueError,
        r"channels must hold positive integers, got \(0,\)",
    ),
    (
        "no layers",
        lambda: sound_deconvnet(num_layers=0),
        ValueError,
        r"num_layers must hold positive integers, got \(0,\)",
    ),
    (
        "filters with gaps",
        lambda: video_deconvnet(filter_size=3, upsampling=4),
        ValueError,
        r"upsampling must lie between 2 and filter_size \(3\), got 4",
    ),
    (
        "map of nothing",
        lambda: Normal((1, 0, 4)),
        ValueError,
        r"dim must be a positive integer, got \(1, 0, 4\)",
    ),
    (
        "map's scale",
        lambda: Normal((2, 3), scale=torch.ones(2)),
        ValueError,
        r"scale must be a number or have shape \(2, 3\), got shape \(2,\)",
    ),
    (
        "not piecewise linear",
        lambda: linear_piece(nn.Sequential(*mlp(2, 3), nn.Tanh()), torch.randn(4, 2)),
        ValueError,
        r"network must be linear wherever.*latents\[\d\] f\(z\) differs",
    ),
    (
        "no ReLU",
        lambda: activation_pattern(mlp(2, 3, activation=nn.GELU), torch.randn(4, 2)),
        ValueError,
        "network must have nn.ReLU or nn.LeakyReLU modules",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "message"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_mistake_is_named(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
