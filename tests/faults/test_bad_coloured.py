"""Mistakes with correlated noise: what was given, where, and what was expected."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from explainaway.inference import bind
from explainaway.models import (
    ColoredGaussian,
    GeneratorModel,
    LowRankGaussian,
    Masked,
    MultivariateGaussian,
    Normal,
    mlp,
)

NAN = float("nan")

CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: ColoredGaussian((3, 4, 4)), ValueError, r"shape .*without channels.*\(3, 4, 4\)"),
    (lambda: ColoredGaussian(0), ValueError, "shape must be integers, 1 or more, got 0"),
    (lambda: ColoredGaussian((4, 2.5)), ValueError, "shape must be integers"),
    (lambda: ColoredGaussian(6, padding=-1), ValueError, "padding must be .* 0 or more, got -1"),
    (lambda: ColoredGaussian(6, padding=(1, 2)), ValueError, r"padding must .*\(6,\).*\(1, 2\)"),
    (lambda: ColoredGaussian(6, -0.3), ValueError, "scale must be positive and finite, got -0.3"),
    (
        lambda: ColoredGaussian(3, torch.tensor([1.0, NAN, NAN])),
        ValueError,
        r"scale must be positive.*nan at \[1\]",
    ),
    (lambda: ColoredGaussian(6, torch.ones(5)), ValueError, r"broadcast to the torus \(6,\).*5"),
    (
        lambda: ColoredGaussian((4, 4), torch.ones(2, 3, 1, 1)),
        ValueError,
        r"broadcast to the torus \(4, 4\)",
    ),
    (
        lambda: ColoredGaussian(4, torch.tensor([1.0, 2.0, 3.0, 4.0])),
        ValueError,
        r"same at the frequencies k and -k.*\[1\]",
    ),
    (lambda: ColoredGaussian(6, nugget=0.0), ValueError, "nugget .*between 0 and 1, got 0.0"),
    (lambda: ColoredGaussian(6, white_batches=-1), ValueError, "white_batches .*got -1"),
    (
        lambda: ColoredGaussian(6, learn_spectrum="by hand"),  # type: ignore[arg-type]
        ValueError,
        "learn_spectrum must be .*'by hand'",
    ),
    (
        lambda: ColoredGaussian(6, inverse_link="tanh"),  # type: ignore[arg-type]
        TypeError,
        "inverse_link must be a callable",
    ),
    (lambda: LowRankGaussian(6, rank=0), ValueError, "rank must be a positive integer, got 0"),
    (lambda: LowRankGaussian((0, 3), rank=1), ValueError, "shape must be integers, 1 or more"),
    (
        lambda: LowRankGaussian((2, 3), 1, torch.tensor([[1.0, 1.0, -2.0]])),
        ValueError,
        r"scale must be positive and finite, got -2 at \[0, 2\]",
    ),
    (lambda: LowRankGaussian(6, 1, torch.ones(5)), ValueError, r"broadcast to shape \(6,\).*5"),
    (lambda: LowRankGaussian(6, 1, nugget=2.0), ValueError, "nugget"),
    (
        lambda: LowRankGaussian(6, 1, learn_covariance=None),  # type: ignore[arg-type]
        ValueError,
        "learn_covariance must be",
    ),
    (
        lambda: MultivariateGaussian(torch.ones(2, 3)),
        ValueError,
        r"covariance must be a square matrix, got shape \(2, 3\)",
    ),
    (
        lambda: MultivariateGaussian([[1.0, 0.5], [0.2, 1.0]]),
        ValueError,
        r"covariance must be symmetric, got 0.5 at \[0, 1\] and 0.2 at \[1, 0\]",
    ),
    (
        lambda: MultivariateGaussian([[1.0, 2.0], [2.0, 1.0]]),
        ValueError,
        "covariance must be positive definite.*smallest eigenvalue is -1",
    ),
    (
        lambda: MultivariateGaussian([[1.0, 0.0], [0.0, NAN]]),
        ValueError,
        r"covariance\[1, 1\] must be finite, got nan",
    ),
]


@pytest.mark.parametrize(("make", "kind", "message"), CASES)
def test_a_bad_argument_is_named(
    make: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (ColoredGaussian((4, 5)), r"y must have shape \(n, \.\.\., 4, 5\).*got \(2, 3, 4\)"),
        (
            ColoredGaussian(4, torch.ones(2, 1)),
            r"y must have shape \(n, 2, 4\), as the noise has, got \(2, 3, 4\)",
        ),
        (LowRankGaussian((4, 3), 2), r"y must have shape \(n, 4, 3\).*got \(2, 3, 4\)"),
        (MultivariateGaussian(torch.eye(4)), r"y must have shape \(n, 4\).*got \(2, 3, 4\)"),
    ],
)
def test_data_that_do_not_fit_the_noise_are_refused(observation: Any, expected: str) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3, 4)), Masked(observation))
    with pytest.raises(ValueError, match=expected):
        bind(model, torch.zeros(2, 3, 4))


@pytest.mark.parametrize(
    "observation",
    [ColoredGaussian(4), LowRankGaussian(4, 1), MultivariateGaussian(torch.eye(4))],
)
def test_a_network_that_does_not_fit_the_noise_is_refused(observation: Any) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (5,)), observation)
    with pytest.raises(ValueError, match=r"the network's output must have shape .*4\).*\(1, 5\)"):
        bind(model, torch.zeros(2, 4))
