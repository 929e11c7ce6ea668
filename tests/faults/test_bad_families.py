"""Each mistake with a family of observations raises one error that names it, before work starts."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import bind
from explainaway.models import (
    Bernoulli,
    Categorical,
    Columns,
    DiscretizedLogistic,
    Gaussian,
    GeneratorModel,
    Masked,
    NegativeBinomial,
    Normal,
    Observation,
    Ordinal,
    Poisson,
    bits_per_dimension,
    mlp,
)
from explainaway.models.observations import Laplace, StudentT


def _bind(observation: Observation, y: Tensor, **more: Any) -> None:
    network = mlp(2, observation.output_shape(tuple(y.shape[1:])), (4,))
    bind(GeneratorModel(Normal(2), network, observation), y, **more)


def _with(value: float, fill: float = 0.0) -> Tensor:
    """Return data of 4 rows and 3 columns with one value at [2, 1]."""
    y = torch.full((4, 3), fill)
    y[2, 1] = value
    return y


def _table(**more: Any) -> Columns:
    return Columns({"age": Gaussian(), "visits": Poisson(), "smoker": Bernoulli(), **more})


def _row(*values: float) -> Tensor:
    return torch.tensor([[0.0, 1.0, 1.0], values])


Row = tuple[str, Callable[[], Any], type[Exception], str]

VALUES: list[Row] = [
    (
        "2 in a Bernoulli image",
        lambda: _bind(Bernoulli(), _with(2.0)),
        ValueError,
        r"y\[2, 1\] = 2 is outside the support of the observation Bernoulli, which is Boolean",
    ),
    (
        "a grade above K",
        lambda: _bind(Ordinal(4), _with(4.0)),
        ValueError,
        r"y\[2, 1\] = 4 is outside .* Ordinal.*lower_bound=0, upper_bound=3",
    ),
    ("half a grade", lambda: _bind(Ordinal(4), _with(1.5)), ValueError, r"y\[2, 1\] = 1.5 is"),
    (
        "a category above K",
        lambda: _bind(Categorical(3), _with(3.0)),
        ValueError,
        r"y\[2, 1\] = 3 is outside .* Categorical.*upper_bound=2",
    ),
    (
        "a negative count",
        lambda: _bind(Poisson(), _with(-1.0)),
        ValueError,
        r"y\[2, 1\] = -1 is outside .* Poisson.*lower_bound=0",
    ),
    (
        "a fractional count",
        lambda: _bind(Masked(NegativeBinomial()), _with(0.5)),
        ValueError,
        r"y\[2, 1\] = 0.5 is outside",
    ),
    (
        "a byte above 255",
        lambda: _bind(DiscretizedLogistic(), _with(256.0)),
        ValueError,
        r"y\[2, 1\] = 256 is outside .* DiscretizedLogistic.*upper_bound=255",
    ),
    (
        "an image scaled to [-1, 1]",
        lambda: _bind(DiscretizedLogistic(), _with(-1.0)),
        ValueError,
        r"y\[2, 1\] = -1 is outside",
    ),
]

EXPOSURES: list[Row] = [
    (
        "exposure of 0",
        lambda: _bind(Poisson(), _with(1.0), context={"exposure": torch.arange(4.0)}),
        ValueError,
        r"context\['exposure'\]\[0\] must be positive and finite, got 0",
    ),
    (
        "exposure not known",
        lambda: _bind(Poisson(), _with(1.0), context={"exposure": _with(math.nan, 1.0)}),
        ValueError,
        r"context\['exposure'\]\[2, 1\] must be positive and finite, got nan",
    ),
    (
        "exposure of another shape",
        lambda: _bind(NegativeBinomial(), _with(1.0), context={"exposure": torch.ones(4, 2)}),
        ValueError,
        r"context\['exposure'\] must have the shape of y .*got \(4, 2\) for y of shape \(4, 3\)",
    ),
    (
        "exposure with too many dimensions",
        lambda: _bind(Poisson(), _with(1.0), context={"exposure": torch.ones(4, 3, 1)}),
        ValueError,
        r"got \(4, 3, 1\) for y",
    ),
]

SETTINGS: list[Row] = [
    (
        "cut points out of order",
        lambda: Ordinal(4, [0.0, 2.0, 1.0]),
        ValueError,
        r"cut_points must increase, got cut_points\[1\] = 2 followed by cut_points\[2\] = 1",
    ),
    (
        "equal cut points of a column",
        lambda: Ordinal(3, torch.tensor([[0.0, 1.0], [2.0, 2.0]])),
        ValueError,
        r"got cut_points\[1, 0\] = 2 followed by cut_points\[1, 1\] = 2",
    ),
    (
        "too few cut points",
        lambda: Ordinal(4, [0.0, 1.0]),
        ValueError,
        r"cut_points must have 3 in their last dimension for 4 grades, got shape \(2,\)",
    ),
    (
        "an infinite cut point",
        lambda: Ordinal(3, [0.0, math.inf]),
        ValueError,
        r"cut_points must be finite, got cut_points\[1\] = inf",
    ),
    ("one grade", lambda: Ordinal(1), ValueError, "num_grades must be an integer of at least 2"),
    (
        "categories",
        lambda: Categorical(2.5),  # type: ignore[arg-type]
        ValueError,
        "num_categories must be an integer of at least 2, got 2.5",
    ),
    ("levels", lambda: DiscretizedLogistic(1), ValueError, "levels must be an integer of at least"),
    (
        "scale of levels",
        lambda: DiscretizedLogistic(scale=0.0),
        ValueError,
        "scale must be positive and finite, got 0.0",
    ),
    (
        "link of levels",
        lambda: DiscretizedLogistic(inverse_link="tanh"),  # type: ignore[arg-type]
        TypeError,
        "inverse_link must be a callable or None, got 'tanh'",
    ),
    ("scale", lambda: Laplace(-1.0), ValueError, "scale must be positive and finite, got -1.0"),
    (
        "learn scale",
        lambda: Laplace(learn_scale="closed form"),  # type: ignore[arg-type]
        ValueError,
        "learn_scale must be True or False, got 'closed form'",
    ),
    ("degrees of freedom", lambda: StudentT(0.0), ValueError, "df must be positive and finite"),
    ("infinitely many", lambda: StudentT(math.inf), ValueError, "df must be positive and finite"),
    (
        "dispersion",
        lambda: NegativeBinomial(0.0),
        ValueError,
        "dispersion must be positive and finite, got 0.0",
    ),
    (
        "learn dispersion",
        lambda: NegativeBinomial(learn_dispersion=1),  # type: ignore[arg-type]
        ValueError,
        "learn_dispersion must be True or False, got 1",
    ),
    ("no cells", lambda: bits_per_dimension(torch.zeros(1), 0), ValueError, "num_cells must be"),
    (
        "outputs of categories",
        lambda: bind(GeneratorModel(Normal(2), mlp(2, (3,)), Categorical(4)), torch.zeros(4, 3)),
        ValueError,
        r"Categorical needs 4 outputs a cell.*has shape \(1, 3\).*output_shape",
    ),
]

TABLES: list[Row] = [
    (
        "a list that does not cover the table",
        lambda: _bind(_table(), torch.ones(4, 4)),
        ValueError,
        r"names the 3 columns \['age', 'visits', 'smoker'\].*\(3,\), got \(4,\)",
    ),
    (
        "a table with more columns than the list",
        lambda: bind(GeneratorModel(Normal(2), mlp(2, (3,)), _table()), torch.ones(4, 4)),
        ValueError,
        r"y must have shape \(n, 3\) for the columns \['age', 'visits', 'smoker'\], got \(4, 4\)",
    ),
    (
        "a network for another table",
        lambda: bind(GeneratorModel(Normal(2), mlp(2, (5,)), _table()), torch.ones(4, 3)),
        ValueError,
        r"need a network's output of shape \(n, 3\), got \(1, 5\)",
    ),
    (
        "a bad yes/no",
        lambda: _bind(_table(), _row(0.0, 1.0, 2.0)),
        ValueError,
        r"y\[1, 2\] = 2 in column 'smoker' is outside the support of the observation Bernoulli",
    ),
    (
        "a bad count under a mask",
        lambda: _bind(Masked(_table()), _row(math.nan, -3.0, math.nan)),
        ValueError,
        r"y\[1, 1\] = -3 in column 'visits' is outside .* Poisson.*lower_bound=0",
    ),
    (
        "a bad grade among neighbours",
        lambda: _bind(Columns({"a": Gaussian(), ("b", "c"): Ordinal(3)}), _row(9.0, 2.0, 3.0)),
        ValueError,
        r"y\[1, 2\] = 3 in column 'c' is outside .* Ordinal",
    ),
    (
        "exposure of a column",
        lambda: _bind(_table(), _row(0.0, 1.0, 1.0), context={"exposure": -torch.ones(2)}),
        ValueError,
        r"column 'visits': context\['exposure'\]\[0\] must be positive and finite, got -1",
    ),
    ("no column", lambda: Columns({}), ValueError, "at least one column, got none"),
    (
        "an empty group",
        lambda: Columns({(): Gaussian()}),
        ValueError,
        r"at least one column for each observation, got \(\)",
    ),
    (
        "a name twice",
        lambda: Columns({"a": Gaussian(), ("b", "a"): Poisson()}),
        ValueError,
        "columns must have names that differ, got 'a' twice",
    ),
    (
        "numbers for names",
        lambda: Columns({0: Gaussian()}),  # type: ignore[dict-item]
        TypeError,
        "columns must be named by a string, or several by a tuple of strings, got 0",
    ),
    (
        "a list",
        lambda: Columns([Gaussian()]),  # type: ignore[arg-type]
        TypeError,
        "columns must be a mapping from names to observations",
    ),
    (
        "a class instead of an observation",
        lambda: Columns({"a": Gaussian}),  # type: ignore[dict-item]
        TypeError,
        r"columns\['a'\]: observation must be an Observation",
    ),
    (
        "Masked inside",
        lambda: Columns({"a": Masked(Gaussian())}),
        ValueError,
        r"columns\['a'\] is Masked: .* Masked\(Columns",
    ),
    (
        "NaN without Masked",
        lambda: _bind(_table(), _row(math.nan, 1.0, 1.0)),
        ValueError,
        r"y\[1, 0\] is NaN.*write Masked\(Columns",
    ),
    (
        "a mask that is not boolean",
        lambda: _bind(Masked(_table()), _row(0.0, 1.0, 1.0), mask=torch.ones(2, 3)),
        TypeError,
        "mask must be boolean",
    ),
]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [row[1:] for row in (*VALUES, *EXPOSURES, *SETTINGS, *TABLES)],
    ids=[row[0] for row in (*VALUES, *EXPOSURES, *SETTINGS, *TABLES)],
)
def test_bad_input_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_hidden_cell_may_hold_anything() -> None:
    y = _row(math.nan, -3.0, 7.0)
    mask = torch.tensor([[True, True, True], [False, False, False]])
    _bind(Masked(_table()), y, mask=mask)
