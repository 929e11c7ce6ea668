"""Mistakes with priors raise one error that says what was given, where, and what was expected."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import AlternatingBackProp, Langevin, bind
from explainaway.models import (
    Empirical,
    Gaussian,
    GeneratorModel,
    Hierarchical,
    LatentEnergy,
    Mixture,
    NonNegative,
    Normal,
    Sparse,
    Supervised,
    linear,
    mlp,
)
from explainaway.models.priors import Laplace, StudentT

NAN = float("nan")
MEANS = torch.zeros(2, 3)
EYES = torch.eye(3).expand(2, 3, 3)


class _Square(nn.Module):
    """No energy, but a number for each component."""

    def forward(self, z: Tensor) -> Tensor:
        return z**2


class _Steep(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return 1e3 * (z**4).sum(1)


class _ClosedForm(Normal):
    has_closed_form = True  # type: ignore[assignment]


def _bind_labels(labels: Any, key: str = "labels") -> Any:
    model = GeneratorModel(Supervised(Normal(3), [0, 2]), linear(3, 4), Gaussian())
    return bind(model, torch.zeros(5, 4), context={key: labels})


def _fit_labels(labels: Tensor) -> Any:
    model = GeneratorModel(Supervised(Normal(3), [0, 2]), linear(3, 4), Gaussian())
    return AlternatingBackProp(model).fit(
        torch.zeros(5, 4), context={"labels": labels}, epochs=1, progress=False
    )


TABLE: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "mixture learned otherwise",
        lambda: Mixture(2, 3, learn=False),  # type: ignore[arg-type]
        ValueError,
        'learn must be True or "closed form", got False',
    ),
    (
        "labels of a learned normal prior",
        lambda: Supervised(Normal(3, learn=True), [0]),
        ValueError,
        "base must have independent components",
    ),
    ("size", lambda: Laplace(0), ValueError, "dim must be a positive integer, got 0"),
    ("size", lambda: StudentT(2.0), ValueError, "dim must be a positive integer, got 2.0"),  # type: ignore[arg-type]
    ("size", lambda: Sparse(True), ValueError, "dim must be a positive integer, got True"),
    (
        "scale",
        lambda: Laplace(2, scale=torch.tensor([1.0, -3.0])),
        ValueError,
        r"scale must be positive and finite, got -3.0 at \[1\]",
    ),
    ("scale", lambda: NonNegative(2, scale=0.0), ValueError, "scale must be positive.*got 0.0"),
    ("scale", lambda: Hierarchical(2, scale=NAN), ValueError, "scale must be positive.*got nan"),
    (
        "scale's shape",
        lambda: Sparse(2, scale=torch.ones(3)),
        ValueError,
        r"scale must be a number or have shape \(2,\), got shape \(3,\)",
    ),
    ("location", lambda: Normal(2, loc=torch.inf), ValueError, "loc must be finite, got inf"),
    ("degrees", lambda: StudentT(2, df=0.0), ValueError, "df must be positive and finite, got 0.0"),
    ("smoothing", lambda: Sparse(2, smoothing=0.0), ValueError, "smoothing must be positive"),
    (
        "family",
        lambda: NonNegative(2, family="gamma"),  # type: ignore[arg-type]
        ValueError,
        'family must be "exponential" or "half-normal", got \'gamma\'',
    ),
    (
        "clusters",
        lambda: Mixture(2, num_components=0),
        ValueError,
        "num_components must be a positive integer, got 0",
    ),
    ("spread", lambda: Mixture(2, 2, spread=-1.0), ValueError, "spread must be positive"),
    ("means", lambda: Empirical(torch.zeros(3), EYES), ValueError, r"means must have shape \(K, d"),
    (
        "covariances",
        lambda: Empirical(MEANS, torch.eye(3)),
        ValueError,
        r"covariances must have shape \(2, 3, 3\).*got \(3, 3\)",
    ),
    (
        "not positive definite",
        lambda: Empirical(MEANS, torch.stack([torch.eye(3), -torch.eye(3)])),
        ValueError,
        r"covariances\[1\] is not positive definite",
    ),
    (
        "weights",
        lambda: Empirical(MEANS, EYES, torch.tensor([1.0, 0.0])),
        ValueError,
        r"weights must be 2 positive numbers.*got \[1.0, 0.0\]",
    ),
    (
        "few latents",
        lambda: Empirical.fit(torch.randn(7, 3), num_components=2),
        ValueError,
        r"at least num_components \(d \+ 1\) = 8 draws.*got 7",
    ),
    (
        "latents",
        lambda: Empirical.fit(torch.where(torch.eye(6, 2) > 0, NAN, 0.0)),
        ValueError,
        r"latents must be finite, got nan at \[0, 0\]",
    ),
    (
        "latents' shape",
        lambda: Empirical.fit(torch.zeros(3)),
        ValueError,
        r"latents must have shape \(n, d\), got \(3,\)",
    ),
    (
        "base",
        lambda: Supervised(torch.distributions.Normal(0.0, 1.0), 1),  # type: ignore[arg-type]
        TypeError,
        "base must be a Prior",
    ),
    (
        "joint base",
        lambda: Supervised(Mixture(3, 2), 1),
        ValueError,
        "base must have independent components.*Mixture gives a FiniteMixture",
    ),
    (
        "base that transforms",
        lambda: Supervised(Hierarchical(3), 1),
        ValueError,
        r"Hierarchical changes them in transformed\(\)",
    ),
    (
        "base in closed form",
        lambda: Supervised(_ClosedForm(3), 1),
        ValueError,
        "base must learn by gradient, but _ClosedForm learns in closed form",
    ),
    (
        "components",
        lambda: Supervised(Normal(3), [0, 3]),
        ValueError,
        r"components must be different numbers from 0 to 2, at least one, got \[0, 3\]",
    ),
    ("components twice", lambda: Supervised(Normal(3), [1, 1]), ValueError, r"got \[1, 1\]"),
    ("no component", lambda: Supervised(Normal(3), []), ValueError, r"at least one, got \[\]"),
    ("no component", lambda: Supervised(Normal(3), 0), ValueError, "components must be a positive"),
    (
        "labels' shape",
        lambda: _bind_labels(torch.zeros(5, 3)),
        ValueError,
        r"context\['labels'\] must have shape \(n, 2\), a column for each of the components "
        r"\[0, 2\], got \(1, 3\)",
    ),
    ("flat labels", lambda: _fit_labels(torch.zeros(5)), ValueError, r"must have shape \(n, 2\)"),
    (
        "labels' name",
        lambda: _bind_labels(torch.zeros(5, 2), key="label"),
        ValueError,
        r"context must hold 'labels', NaN where a label is not known, got \['label'\]",
    ),
    (
        "labels' rows",
        lambda: _bind_labels(torch.zeros(4, 2)),
        ValueError,
        "must have the example as its first dimension, of size 5",
    ),
    (
        "energy",
        lambda: LatentEnergy(2, torch.sum),  # type: ignore[arg-type]
        TypeError,
        "energy must be an nn.Module",
    ),
    (
        "energy's shape",
        lambda: LatentEnergy(3, _Square()),
        ValueError,
        r"energy must give one number for each row, shape \(n, 1\) or \(n,\), got \(2, 3\)",
    ),
    (
        "steps",
        lambda: LatentEnergy(2, mlp(2, 1), num_steps=0),
        ValueError,
        "num_steps must be a positive integer, got 0",
    ),
    (
        "kernel",
        lambda: LatentEnergy(2, mlp(2, 1), kernel=0.4),  # type: ignore[arg-type]
        TypeError,
        "kernel must have methods init and step, got 0.4",
    ),
    (
        "kernel that adapts",
        lambda: LatentEnergy(2, mlp(2, 1), kernel=Langevin()),
        ValueError,
        "kernel must have a number as its step_size.*nothing adapts it",
    ),
    (
        "diverged",
        lambda: LatentEnergy(2, _Steep()).draw(10, seed=0),
        RuntimeError,
        "a chain of the prior's ShortRunLangevin.* has diverged.*smaller step_size",
    ),
    ("linear size", lambda: linear(0, 3), ValueError, "latent_dim must hold positive integers"),
    ("linear shape", lambda: linear(2, (3, 0)), ValueError, "shape must hold positive integers"),
]


@pytest.mark.parametrize(
    ("make", "error", "message"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_bad_input_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
