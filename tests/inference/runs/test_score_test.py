"""The score test: what a slope is worth, and nothing where there is none."""

import math

import pytest
import torch
from torch import Tensor

from explainaway.inference.runs.score_test import ScoreGain, ScoreTest

EXAMPLES, BATCH = 400, 40
INFORMATION = torch.tensor([0.1, 1.0, 10.0, 2.0])


def _found(slope: Tensor, epochs: int = 18) -> ScoreGain:
    """Return what is found of gradients with this mean and the noise of batches of examples."""
    test = ScoreTest(EXAMPLES)
    for _ in range(epochs):
        for _ in range(EXAMPLES // BATCH):
            noise = (INFORMATION / BATCH).sqrt() * torch.randn(4)
            weight, bias = (slope + noise).split([3, 1])
            test.add([weight.reshape(3, 1), bias], BATCH)
        test.end_epoch()
    assert test.last is not None
    return test.last


def test_a_slope_is_worth_half_its_square_by_the_information() -> None:
    """Mean of 20 runs within 6 of its standard errors, and 2 % for what is not linear."""
    away = torch.tensor([0.3, 0.1, -0.05, 0.2])
    expected = float(0.5 * (INFORMATION * away**2).sum())
    found = torch.tensor([_found(INFORMATION * away).nats for _ in range(20)])
    error = float(found.std()) / math.sqrt(len(found))
    # The variance of 60 batches in the denominator: 1/x of a chi-square is too large by 2/58.
    assert abs(float(found.mean()) - expected * 58 / 56) < 6 * error + 0.02 * expected
    assert all(_found(INFORMATION * away).is_seen for _ in range(5))


def test_where_there_is_none_the_error_is_that_of_the_noise() -> None:
    """300 runs: mean 0 within 4 errors, spread as said within five of its own, 4 % each."""
    runs = [_found(torch.zeros(4)) for _ in range(300)]
    nats = torch.tensor([run.nats for run in runs])
    assert abs(float(nats.mean())) < 4 * float(nats.std()) / math.sqrt(300)
    assert float(nats.std()) == pytest.approx(runs[0].error, rel=0.2)
    assert not any(run.is_seen for run in runs)


def test_of_more_parameters_than_examples_nothing_is_kept() -> None:
    test = ScoreTest(5)
    for _ in range(20):
        test.add([torch.ones(6)], 5)
        test.end_epoch()
    assert test.last is None
    assert not test.squares
    assert all(math.isinf(value) for value in test.record().values())


def test_complex_gradients_count_by_their_parts_and_dead_ones_not_at_all() -> None:
    plain, made = ScoreTest(EXAMPLES), ScoreTest(EXAMPLES)
    for _ in range(12):
        for _ in range(5):
            parts = torch.randn(3, 2)
            plain.add([parts], BATCH)
            made.add([torch.view_as_complex(parts.clone()), torch.zeros(())], BATCH)
        plain.end_epoch()
        made.end_epoch()
    assert plain.last is not None
    assert made.last is not None
    assert made.last.nats == pytest.approx(plain.last.nats)
