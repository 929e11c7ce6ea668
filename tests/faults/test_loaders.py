"""What a data set or a loader does to examples is done, or refused by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from explainaway.inference import bind
from explainaway.models import GeneratorModel
from tests.conftest import linear_gaussian

NAN = float("nan")
Y = torch.tensor([[5.0, 1.0]]).repeat(6, 1)
SET = TensorDataset(Y)


def _model() -> GeneratorModel:
    return linear_gaussian(torch.tensor([[2.0], [3.0]])).model


def _means(data: Any) -> Tensor:
    """Return z's posterior means: the energies are parabolas with their minima there."""
    potential = bind(_model(), data)
    z = torch.zeros(potential.num_examples, 1)
    gradient = potential(z)[1]
    return (-gradient / (potential(z + 1)[1] - gradient))[:, 0]


def _hide_first(items: list[tuple[Tensor]]) -> Tensor:
    y = torch.stack([item[0] for item in items])
    # Column 1 is seen in all, column 0 in the last example of each batch.
    y[:-1, 0] = NAN
    return y


class _Of(Dataset[Any]):
    """A data set of what a function says of an index."""

    def __init__(self, item: Callable[[int], Any], length: int = 6) -> None:
        self.item = item
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


@pytest.mark.parametrize("shuffle", [False, True])
def test_collate_functions_are_used(shuffle: bool) -> None:
    """Case 34 (Ensemble-Pytorch#124): .3 where column 0 is hidden, 13/14 where it is not."""
    loader = DataLoader(SET, batch_size=3, shuffle=shuffle, collate_fn=_hide_first)
    expected = torch.tensor([0.3, 0.3, 13 / 14, 0.3, 0.3, 13 / 14])
    torch.testing.assert_close(_means(loader), expected)


def test_a_collate_function_without_batches_is_given_single_examples() -> None:
    loader = DataLoader(SET, batch_size=None, collate_fn=lambda item: 2 * item[0])
    torch.testing.assert_close(_means(loader), torch.full((6,), 26 / 14))


def test_masked_arrays_in_a_data_set_hide_cells() -> None:
    hidden = np.ma.array([5.0, 1.0], mask=[1, 0])
    data = _Of(lambda i: hidden if i else np.ma.array([5.0, 1.0]))
    torch.testing.assert_close(_means(data)[1:], torch.full((5,), 0.3))


def test_a_collate_function_may_give_arguments_by_name_or_place() -> None:
    def model(data: Any) -> None:
        _model()(data["y"])

    def pair(y: Tensor, more: Tensor) -> None:
        _model()(y + more[:, None])

    loader = DataLoader(SET, batch_size=4, collate_fn=lambda items: {"y": _hide_first(items)})
    assert bind(model, loader).num_examples == 6
    loader = DataLoader(SET, 4, collate_fn=lambda items: (_hide_first(items), np.ones(len(items))))
    assert bind(pair, loader).num_examples == 6


def test_a_subset_is_some_of_the_examples() -> None:
    assert bind(_model(), Subset(SET, [0, 2])).num_examples == 2
    assert bind(_model(), DataLoader(Subset(SET, [0, 2]), shuffle=True)).num_examples == 2


def test_drop_last_that_drops_nothing_is_fine() -> None:
    assert bind(_model(), DataLoader(SET, batch_size=3, drop_last=True)).num_examples == 6


class _Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(SET)

    def __len__(self) -> int:
        return 6


class _OwnLoader(DataLoader[Any]):
    def __iter__(self) -> Any:
        return iter([])


def _padded(items: list[Any]) -> Tensor:
    return torch.zeros(len(items), int(items[0][0].sum()) % 5 + len(items))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            lambda: DataLoader(SET, sampler=SubsetRandomSampler([0, 1])),
            "sampler SubsetRandomSampler, which would not be followed.*Subset",
            id="some of them",
        ),
        pytest.param(
            lambda: DataLoader(SET, sampler=WeightedRandomSampler(torch.ones(6), 6)),
            "sampler WeightedRandomSampler",
            id="weights",
        ),
        pytest.param(
            lambda: DataLoader(SET, sampler=RandomSampler(SET, replacement=True)),
            "sampler RandomSampler",
            id="with replacement",
        ),
        pytest.param(lambda: DataLoader(SET, sampler=[0, 0, 1]), "sampler list", id="a list"),
        pytest.param(
            lambda: DataLoader(
                SET, batch_sampler=BatchSampler(SubsetRandomSampler([1, 2]), 2, False)
            ),
            "sampler SubsetRandomSampler",
            id="batches of some",
        ),
        pytest.param(
            lambda: DataLoader(SET, batch_sampler=[[0, 1], [2, 3]]),
            "batch_sampler list, which would not be followed",
            id="batches by hand",
        ),
        pytest.param(
            lambda: DataLoader(SET, batch_size=4, drop_last=True),
            "drop_last=True, which leaves out 2 of 6 examples",
            id="drop last",
        ),
        pytest.param(
            lambda: DataLoader(
                SET, batch_sampler=BatchSampler(SequentialSampler(SET), 4, drop_last=True)
            ),
            "drop_last=True",
            id="a batch sampler that drops",
        ),
        pytest.param(_Stream, "data set with a length, got _Stream", id="stream"),
        pytest.param(lambda: _OwnLoader(SET), "_OwnLoader, which makes batches", id="own loader"),
        pytest.param(
            lambda: _Of(lambda i: torch.rand(2)), "others each time they are read", id="random"
        ),
        pytest.param(
            lambda: DataLoader(
                _Of(lambda i: torch.flip(Y[0], [0]) if torch.rand(()) < 0.5 else Y[0], 40)
            ),
            "a random transform",
            id="random flips",
        ),
        pytest.param(
            lambda: DataLoader(SET, 3, collate_fn=lambda items: torch.rand(len(items), 2)),
            "a random collate_fn",
            id="random collate",
        ),
        pytest.param(
            lambda: _Of(lambda i: torch.zeros(i + 1)),
            "examples differ in shape: .*pad",
            id="ragged",
        ),
        pytest.param(
            lambda: DataLoader(SET, 4, collate_fn=_padded),
            r"shapes \[\(3,\), \(5,\)\] in data: .*pad",
            id="padded by batch",
        ),
        pytest.param(lambda: _Of(lambda i: Y[0], 0), "at least one example", id="empty"),
    ],
)
def test_what_would_not_be_followed_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bind(_model(), make())


def test_a_loader_stands_alone() -> None:
    with pytest.raises(ValueError, match=r"data\[0\] is a DataLoader, which must be the only"):
        bind(_model(), DataLoader(SET), Y)
