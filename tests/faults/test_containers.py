"""What a container says is hidden stays hidden, or a sentence says why not."""

from collections import namedtuple
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import scipy.sparse
import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, Langevin, bind, sample_posterior
from explainaway.models import GeneratorModel
from tests.conftest import linear_gaussian

NAN = float("nan")


def _model() -> GeneratorModel:
    return linear_gaussian(torch.tensor([[2.0], [3.0]])).model


def _mean(*data: Any, **more: Any) -> float:
    """Return z's posterior mean: the energy is a parabola with its minimum there."""
    potential = bind(_model(), *data, **more)
    z = torch.zeros(1, 1)
    gradient = potential(z)[1]
    curvature = potential(z + 1)[1] - gradient
    return float(-gradient / curvature)


ONE_HIDDEN = np.ma.array([[5.0, 1.0]], mask=[[1, 0]])
FRAME = pd.DataFrame({"a": pd.array([None], dtype="Int64"), "b": pd.array([1], dtype="Int64")})


@pytest.mark.parametrize(
    "y",
    [
        pytest.param(ONE_HIDDEN, id="masked array"),
        pytest.param(ONE_HIDDEN.astype(np.int64), id="masked integers"),
        pytest.param(ONE_HIDDEN.astype(">f4"), id="the other byte order"),
        pytest.param(FRAME, id="nullable integers"),
        pytest.param(FRAME.astype("Float64"), id="nullable floats"),
        pytest.param(FRAME.astype("float64"), id="a frame of floats"),
        pytest.param([[NAN, 1.0]], id="lists"),
        pytest.param(((NAN, 1),), id="tuples"),
        pytest.param(np.array([[NAN, 1.0]], dtype=np.longdouble), id="long doubles"),
        pytest.param(np.array([[1.0, NAN]])[:, ::-1], id="backwards"),
    ],
)
def test_hidden_values_stay_hidden(y: Any) -> None:
    """Case 33 (jax-ml/jax#13795): (hidden, 1) has mean .3; with what lies below the mask .931."""
    assert _mean(y) == pytest.approx(0.3, abs=1e-5)


def test_a_masked_array_is_hidden_in_sampling_and_learning() -> None:
    posterior = sample_posterior(
        _model(), ONE_HIDDEN, warmup_steps=100, num_samples=500, progress=False
    )
    # The posterior's sd is .316; of at least 500 effective draws the mean is within 4 errors.
    assert float(posterior.position.mean()) == pytest.approx(0.3, abs=0.06)
    hidden = np.ma.array(np.full((8, 2), -999.0), mask=[[True, False]] * 8)
    hidden[:, 1] = 1.0
    hidden[0, 0] = 5.0  # which is seen from then on
    fit = AlternatingBackProp(_model(), Langevin(0.1)).fit(hidden, epochs=1, progress=False)
    assert fit.history["loss"][0] < 20


def test_a_mask_of_lists_and_a_table_of_truth_values_hide_cells() -> None:
    y = torch.tensor([[5.0, 1.0]])
    assert _mean(y, mask=[[False, True]]) == pytest.approx(0.3, abs=1e-5)
    assert _mean(y, mask=pd.DataFrame([[False, True]])) == pytest.approx(0.3, abs=1e-5)
    assert _mean(ONE_HIDDEN, mask=np.array([[True, True]])) == pytest.approx(0.3, abs=1e-5)


def test_a_named_tuple_stays_one() -> None:
    pair = namedtuple("pair", "y weight")

    def model(data: Any) -> None:
        with pyro.plate("rows", len(data.y)):
            z = pyro.sample("z", dist.Normal(0.0, data.weight))
            pyro.sample("y", dist.Normal(z, 1.0), obs=data.y)

    assert bind(model, pair(torch.zeros(3), np.ones(3))).num_examples == 3


RAGGED = [[1.0, 2.0], [3.0]]


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        pytest.param(
            scipy.sparse.csr_matrix([[5.0, 0.0]]),
            TypeError,
            r"data\[0\] must be dense, got a sparse csr_matrix: whether an entry.*toarray",
            id="sparse matrix",
        ),
        pytest.param(
            torch.eye(2).to_sparse(), TypeError, "must be dense.*to_dense", id="sparse tensor"
        ),
        pytest.param(
            pd.DataFrame({"a": [1.0], "b": ["x"]}), TypeError, "columns 'b'.*as numbers", id="words"
        ),
        pytest.param(
            pd.DataFrame({"a": pd.Categorical(["u"])}), TypeError, "categories", id="categories"
        ),
        pytest.param(np.array([["1"]]), TypeError, "must hold numbers, got.*<U1", id="strings"),
        pytest.param(
            np.array([[1, None]], dtype=object), TypeError, "NaN where a value", id="objects"
        ),
        pytest.param(np.array(["2020"], dtype="M8[D]"), TypeError, "must hold numbers", id="dates"),
        pytest.param(RAGGED, ValueError, r"data\[0\] must not be ragged.*pad_sequence", id="lists"),
        pytest.param(
            [torch.zeros(3, 2), torch.zeros(2, 2)],
            ValueError,
            "If each item of that list is one example.*pad_sequence",
            id="sequences of unequal length",
        ),
        pytest.param(
            np.array([[1.0], [1.0, 2.0]], dtype=object), ValueError, "ragged", id="array of lists"
        ),
        pytest.param(
            torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged),
            TypeError,
            "pad_sequence",
            id="nested tensor",
        ),
        pytest.param(np.array([[1e39, 1.0]]), ValueError, r"\[0, 0\] = 1e\+39 is too", id="large"),
    ],
)
def test_what_cannot_be_read_is_named(y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        bind(_model(), y)


def test_a_masked_mask_is_refused() -> None:
    mask = np.ma.array([[True, True]], mask=[[True, False]])
    with pytest.raises(TypeError, match="mask is a masked array"):
        bind(_model(), torch.zeros(1, 2), mask=mask)


def test_precision_that_is_lost_is_told() -> None:
    """Seconds since 1970, a few apart: float32 makes them one."""
    times = np.array([[1.7e9, 0.0], [1.7e9 + 3, 1.0]])
    with pytest.warns(UserWarning, match=r"data\[0\]\[:, 0\] ranges from 1700000000 to 170000"):
        bind(_model(), times)
    bind(_model().double(), times)
    bind(_model(), times - times.mean(0))
    bind(_model(), np.array([[0.1 + 0.2, 0.0], [0.3, 1.0]]))


def test_a_list_of_numbers_that_is_no_data_is_handed_on() -> None:
    def model(y: Tensor, powers: list[int]) -> None:
        assert powers == [1, 2]
        with pyro.plate("rows", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(sum(z**p for p in powers), 1.0), obs=y)

    assert bind(model, torch.zeros(3), [1, 2]).num_examples == 3
