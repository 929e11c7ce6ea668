"""Operators, limits and bounds that do not fit: one error each, before work starts."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from explainaway.inference import bind
from explainaway.models import (
    Bernoulli,
    Censored,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    Observation,
    Sensed,
    Truncated,
    factorised,
    mlp,
)
from explainaway.models.operators import (
    Blur,
    Downsample,
    Greyscale,
    Identity,
    PerExample,
    RandomProjection,
    SubsampledFourier,
)

NAN = float("nan")
PROJECTION = RandomProjection((5,), 3)
Y = torch.zeros(4, 3)


class _NoSignal(Observation):
    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Any = None
    ) -> dist.TorchDistribution:
        return factorised(dist.Normal(output, 1.0), mask)


class _LearnsOtherwise(Gaussian):
    learn_from_residuals = property()  # type: ignore[assignment]


def _bind(observation: Any, y: Tensor = Y, emits: int = 3, **more: Any) -> None:
    bind(GeneratorModel(Normal(2), mlp(2, (emits,)), observation), y, **more)


def _limits(lower: Any, upper: Any = None, y: Tensor = Y) -> None:
    given = {"lower": lower, "upper": upper}
    context = {key: value for key, value in given.items() if value is not None}
    _bind(Censored(Gaussian(1.0)), y, context=context)


TABLE: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "composition",
        lambda: RandomProjection((6,), 2) @ PROJECTION,
        ValueError,
        r"RandomProjection @ RandomProjection does not fit: the right one has output_shape \(3,\), "
        r"the left one input_shape \(6,\)",
    ),
    (
        "composition with a matrix",
        lambda: PROJECTION @ torch.zeros(5, 5),  # type: ignore[operator]
        TypeError,
        "inner must be a LinearOperator",
    ),
    (
        "signal",
        lambda: PROJECTION(torch.zeros(2, 4)),
        ValueError,
        r"x must have shape \(n, 5\), the input_shape of RandomProjection.*got \(2, 4\)",
    ),
    (
        "measurements",
        lambda: PROJECTION.adjoint(torch.zeros(2, 5)),
        ValueError,
        r"y must have shape \(n, 3\), the output_shape of RandomProjection.*got \(2, 5\)",
    ),
    ("no measurement", lambda: RandomProjection((5,), 0), ValueError, r"output_shape must hold"),
    ("empty image", lambda: Identity((0, 3)), ValueError, r"positive integers, got \(0, 3\)"),
    ("no image", lambda: Blur((5,), 1.0), ValueError, r"\(..., height, width\), got \(5,\)"),
    ("factor", lambda: Downsample((1, 6, 4), 4), ValueError, r"got 4 for input_shape \(1, 6, 4\)"),
    ("factor kind", lambda: Downsample((4, 4), 2.0), ValueError, "got 2.0"),  # type: ignore
    ("colours", lambda: Greyscale((1, 4, 4)), ValueError, r"red, green and blue.*\(1, 4, 4\)"),
    ("even kernel", lambda: Blur((4, 4), torch.ones(2, 3)), ValueError, r"both odd, got \(2, 3\)"),
    (
        "wide kernel",
        lambda: Blur((2, 9), torch.ones(7, 3)),
        ValueError,
        r"\(7, 3\) reaches farther",
    ),
    ("width", lambda: Blur((4, 4), -1.0), ValueError, "positive standard deviation, got -1.0"),
    (
        "boundary",
        lambda: Blur((4, 4), 1.0, boundary="mirror"),  # type: ignore[arg-type]
        ValueError,
        "got 'mirror'",
    ),
    ("share", lambda: SubsampledFourier((4, 4), 1.5), ValueError, r"share in \(0, 1\].*got 1.5"),
    (
        "spectrum's mask",
        lambda: SubsampledFourier((4, 4), torch.ones(4, 5) > 0),
        ValueError,
        r"shape \(4, 4\).*got shape \(4, 5\)",
    ),
    (
        "no frequency",
        lambda: SubsampledFourier((4, 4), torch.zeros(4, 4) > 0),
        ValueError,
        "at least one true entry",
    ),
    (
        "weights for a mask",
        lambda: SubsampledFourier((4, 4), torch.ones(4, 4)),
        TypeError,
        "boolean mask, got dtype torch.float32",
    ),
    ("key", lambda: PerExample((2,), (2,), key=3), TypeError, "key must be"),  # type: ignore
    (
        "masked before it is sensed",
        lambda: Sensed(Masked(Gaussian(1.0)), PROJECTION),
        TypeError,
        r"must not be a wrapper.*write Masked\(Sensed\(...\)\)",
    ),
    (
        "censored before it is sensed",
        lambda: Sensed(Censored(Gaussian(1.0), 0.0), PROJECTION),
        TypeError,
        r"write Censored\(Sensed\(...\)\)",
    ),
    (
        "sensed twice",
        lambda: Sensed(Sensed(Gaussian(1.0), PROJECTION), Identity((3,))),
        TypeError,
        r"Sensed\(base, A @ B\)",
    ),
    (
        "no operator",
        lambda: Sensed(Gaussian(1.0), torch.zeros(3, 5)),  # type: ignore[arg-type]
        TypeError,
        "operator must be a LinearOperator",
    ),
    (
        "no signal",
        lambda: Sensed(_NoSignal(), PROJECTION),
        TypeError,
        r"implement around\(signal\)",
    ),
    (
        "a callable with a link",
        lambda: Sensed(lambda output: dist.Laplace(output.tanh(), 1.0), PROJECTION),
        ValueError,
        "its signal is not known: write an Observation",
    ),
    (
        "a callable of probabilities",
        lambda: Sensed(lambda output: dist.Poisson(output), PROJECTION),
        ValueError,
        "its signal is not known",
    ),
    (
        "closed form of another kind",
        lambda: Sensed(_LearnsOtherwise(1.0, learn_scale="closed form"), PROJECTION),
        TypeError,
        "has no learn_from_residuals",
    ),
    (
        "network of another shape",
        lambda: _bind(Sensed(Gaussian(1.0), PROJECTION), emits=4),
        ValueError,
        r"signal of shape \(4,\), but the operator RandomProjection has input_shape \(5,\)",
    ),
    (
        "other measurements",
        lambda: _bind(Sensed(Gaussian(1.0), PROJECTION), torch.zeros(4, 2), emits=5),
        ValueError,
        r"y has shape \(4, 2\), but the operator RandomProjection gives measurements of shape "
        r"\(3,\) for each example$",
    ),
    (
        "signals for measurements",
        lambda: _bind(Masked(Sensed(Gaussian(1.0), PROJECTION)), torch.zeros(4, 5), emits=5),
        ValueError,
        r"of shape \(3,\) for each example: these are signals, measure them by operator\(y\)",
    ),
    (
        "shape asked for",
        lambda: Sensed(Gaussian(1.0), PROJECTION).output_shape((5,)),
        ValueError,
        r"operator's output_shape \(3,\), got \(5,\)",
    ),
    (
        "no matrices",
        lambda: _bind(Sensed(Gaussian(1.0), PerExample((5,), (3,))), emits=5),
        ValueError,
        "context must hold 'operator', the matrix of each example",
    ),
    (
        "matrices under another key",
        lambda: _bind(
            Sensed(Gaussian(1.0), PerExample((5,), (3,))),
            emits=5,
            context={"matrix": torch.zeros(4, 3, 5)},
        ),
        ValueError,
        r"got \['matrix'\]",
    ),
    (
        "matrices of another shape",
        lambda: _bind(
            Sensed(Gaussian(1.0), PerExample((5,), (3,)) @ Identity((5,))),
            emits=5,
            context={"operator": torch.zeros(4, 5, 3)},
        ),
        ValueError,
        r"\(n, m, d\) = \(4, 3, 5\).*got \(4, 5, 3\)",
    ),
    (
        "matrix with a hole",
        lambda: _bind(
            Sensed(Gaussian(1.0), PerExample((1,), (3,))),
            emits=1,
            context={"operator": torch.tensor([1.0, NAN, 1.0]).reshape(1, 3, 1).repeat(4, 1, 1)},
        ),
        ValueError,
        r"context\['operator'\]\[0, 1, 0\] must be finite",
    ),
    (
        "outside a measured support",
        lambda: _bind(Sensed(Bernoulli(), Identity((3,))), Y + 2),
        ValueError,
        r"y\[0, 0\] = 2 is outside the support of the observation Sensed",
    ),
    (
        "limits in the wrong order",
        lambda: Censored(Gaussian(1.0), 1.0, 0.5),
        ValueError,
        "lower must be smaller than upper, got 1 and 0.5",
    ),
    (
        "limits of columns in the wrong order",
        lambda: Censored(Gaussian(1.0), torch.tensor([0.0, 2.0]), 1.0),
        ValueError,
        r"lower\[1\] must be smaller than upper\[1\], got 2 and 1",
    ),
    (
        "limits of different shapes",
        lambda: Truncated(Gaussian(1.0), torch.zeros(2), torch.ones(3)),
        ValueError,
        r"low and high must broadcast to each other, got shapes \(2,\) and \(3,\)",
    ),
    ("no number", lambda: Censored(Gaussian(), lower=NAN), ValueError, "lower must be finite"),
    (
        "limits that do not fit",
        lambda: _bind(Censored(Gaussian(1.0), torch.zeros(2))),
        ValueError,
        r"lower must be a number or broadcast to one example's data, of shape \(3,\), got shape",
    ),
    (
        "limit of cells of another shape",
        lambda: _limits(torch.zeros(4, 2)),
        ValueError,
        r"context\['lower'\] must have the shape of y, \(4, 3\), got \(4, 2\)",
    ),
    (
        "limits of cells in the wrong order",
        lambda: _limits(torch.tensor([[NAN, 1.0, NAN]]), torch.tensor([[0.0, 1.0, 2.0]]), Y[:1]),
        ValueError,
        r"context\['lower'\]\[0, 1\] must be smaller than context\['upper'\]\[0, 1\], got 1 and 1",
    ),
    (
        "an infinite limit of a cell",
        lambda: _limits(None, torch.tensor([[0.0, 1.0, torch.inf]]), Y[:1]),
        ValueError,
        r"context\['upper'\]\[0, 2\] must be a number, or NaN where there is no limit",
    ),
    (
        "NaN for a limited cell without Masked",
        lambda: _limits(torch.zeros(4, 3), None, Y * NAN),
        ValueError,
        r"y\[0, 0\] is NaN, but the observation Censored.*write Masked\(Censored",
    ),
    (
        "masked before it is censored",
        lambda: Censored(Masked(Gaussian(1.0))),
        TypeError,
        r"must not be Masked\(...\).*write Masked\(Censored\(...\)\)",
    ),
    (
        "truncated and censored",
        lambda: Truncated(Censored(Gaussian(1.0)), 0.0),
        TypeError,
        "only one of Censored and Truncated",
    ),
    (
        "closed form under limits",
        lambda: Censored(Gaussian(1.0, learn_scale="closed form"), 0.0),
        TypeError,
        "learn by its gradient, learn_scale=True",
    ),
    (
        "a family without tails",
        lambda: _bind(Censored(Bernoulli(), lower=0.0)),
        TypeError,
        "Bernoulli has no cumulative distribution",
    ),
    (
        "correlated cells",
        lambda: _bind(Truncated(lambda o: dist.MultivariateNormal(o, torch.eye(3)), 0.0)),
        TypeError,
        r"correlated cells \(a MultivariateNormal of event shape \(3,\)\)",
    ),
    ("no limit at all", lambda: Truncated(Gaussian(1.0)), ValueError, "give at least one limit"),
    (
        "outside the bounds",
        lambda: _bind(Truncated(Gaussian(1.0), -1.0, 2.0), Y + torch.tensor([0.0, 0.0, 3.0])),
        ValueError,
        r"y\[0, 2\] = 3 is outside the support of the observation Truncated, which is "
        r"Real\(\) from -1 to 2",
    ),
    (
        "half a count",
        lambda: _bind(Truncated(lambda o: dist.Poisson(o.exp()), low=1.0), Y + 1.5),
        ValueError,
        "= 1.5 is outside the support",
    ),
    (
        "bounds that do not fit",
        lambda: _bind(Truncated(Gaussian(1.0), high=torch.ones(2, 3))),
        ValueError,
        r"high must be a number or broadcast.*got shape \(2, 3\)",
    ),
]


@pytest.mark.parametrize(
    ("make", "error", "message"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_bad_input_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
