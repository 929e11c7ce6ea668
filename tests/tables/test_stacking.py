"""Shares of models by the score of their mixture on hidden cells."""

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from explainaway.models import GeneratorModel
from explainaway.tables.fitted import apportioned
from explainaway.tables.learning import Learning
from explainaway.tables.network import Network
from explainaway.tables.stacking import Candidates, best_shares, simplex
from explainaway.tables.table import Table


def _of(frame: pd.DataFrame) -> tuple[Table, np.ndarray]:
    table = Table.of(frame, {}, {}, 20)
    return table, table.read(frame)[0]


def test_the_model_that_draws_as_the_truth_is_gets_all() -> None:
    """2,000 cells: a spread twice too wide, and a mean off by one, are seen by far."""
    noise = np.random.default_rng(0)
    table, truth = _of(pd.DataFrame({"x": noise.normal(size=2000)}))
    right, wide, shifted = (
        noise.normal(loc, scale, (40, 2000, 1)) for loc, scale in ((0, 1), (0, 2), (1, 1))
    )
    shares = best_shares([wide, right, shifted], truth, np.ones_like(truth, dtype=bool), table)
    assert shares[1] >= 0.9


def test_two_models_that_are_half_of_the_truth_share_the_draws() -> None:
    """A column of two clusters, and one of labels: each model knows one cluster, one label."""
    noise = np.random.default_rng(0)
    first = noise.random(2000) < 0.5
    x = noise.normal(np.where(first, -3, 3), 1)
    table, truth = _of(pd.DataFrame({"x": x, "kind": np.where(first, "a", "b")}))
    models = [
        np.stack([noise.normal(loc, 1, (40, 2000)), np.full((40, 2000), label)], -1)
        for loc, label in ((-3, 0.0), (3, 1.0))
    ]
    shares = best_shares(models, truth, np.ones_like(truth, dtype=bool), table)
    assert shares == pytest.approx([0.5, 0.5], abs=0.051)


def test_shares_are_the_best_of_the_pooled_draws() -> None:
    """The quadratic form is the score of the mixture itself, all draws pooled by their weights."""
    noise = np.random.default_rng(0)
    table, truth = _of(pd.DataFrame({"x": noise.normal(size=30)}))
    models = [noise.normal(loc, 0.3, (25, 30, 1)) for loc in (-0.6, 0.9)]
    shares = best_shares(models, truth, np.ones_like(truth, dtype=bool), table)

    def score(share: float) -> float:
        weights = np.repeat([share / 25, (1 - share) / 25], 25)
        pooled = np.concatenate(models)[..., 0]
        error = weights @ np.abs(pooled - truth[:, 0])
        # Pairs of one draw with itself do not count, those of one model the more.
        more = np.ones((50, 50))
        more[:25, :25] = more[25:, 25:] = 25 / 24
        pairs = np.abs(pooled[:, None] - pooled[None])
        spread = np.einsum("i,j,ij,ijn->n", weights, weights, more, pairs)
        return float((error - spread / 2).mean())

    grid = np.arange(21) / 20
    assert shares[0] == grid[np.argmin([score(share) for share in grid])]


def test_shares_are_all_that_there_are_and_draws_are_dealt_by_them() -> None:
    points = simplex(3, 4)
    assert len(points) == 15
    np.testing.assert_array_equal(points.sum(1), 1)
    np.testing.assert_array_equal(apportioned([0.5, 0.3, 0.2], 20, seed=0), [10, 6, 4])
    np.testing.assert_array_equal(apportioned([0.0, 1.0, 0.0], 7, seed=1), [0, 7, 0])


@pytest.mark.parametrize("number", [1, 7])
def test_over_seeds_each_model_is_dealt_its_share(number: int) -> None:
    """Of 2,000 seeds, |z| < 4; with one seed no more than one draw from it."""
    shares = np.array([0.55, 0.3, 0.15])
    dealt = np.stack([apportioned(shares, number, seed) for seed in range(2000)])
    np.testing.assert_array_equal(dealt.sum(1), number)
    assert np.abs(dealt - shares * number).max() < 1
    error = dealt.std(0) / np.sqrt(len(dealt))
    assert (np.abs(dealt.mean(0) - shares * number) < 4 * error).all()


def test_the_network_goes_on_from_what_it_learned_of_most_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Learned of the other cells it needs a third of the epochs with all of them."""
    learn, epochs, before, after = Learning.learn, [], [], []

    def noted(self: Learning, model: GeneratorModel, *given: Any) -> torch.Tensor:
        epochs.append(self.epochs)
        before.append((copy.deepcopy(model.state_dict()), given[-1]))
        latents = learn(self, model, *given)
        after.append((copy.deepcopy(model.state_dict()), latents))
        return latents

    monkeypatch.setattr(Learning, "learn", noted)
    noise = np.random.default_rng(0)
    angle = noise.uniform(0, 2 * np.pi, 200)
    frame = pd.DataFrame({"x": np.cos(angle), "y": np.sin(angle)})
    frame.loc[:9, "x"] = np.nan
    frame.loc[10, :] = np.nan
    table = Table.of(frame, {}, {}, 20)
    rows = table.rows(*table.read(frame))
    fitted = Candidates(2, (64, 64), Learning(60, 40.0), 0).stacked(table, rows, {})
    assert isinstance(fitted.members[0], Network)
    assert epochs == [60, 20]
    assert before[0][1] is None
    (weights, latents), (first_weights, start) = after[0], before[1]
    torch.testing.assert_close(first_weights, weights, rtol=0, atol=0)
    # Some rows say nothing while cells of theirs are hidden, one says nothing at all.
    torch.testing.assert_close(start[start.any(1)], latents, rtol=0, atol=0)
    assert len(latents) < len(start) == 199


def test_each_model_has_random_numbers_of_its_own() -> None:
    """With the same ones the chains of two normal models of a table end in the same draws."""
    noise = np.random.default_rng(0)
    frame = pd.DataFrame({"x": noise.normal(size=50), "kind": list("abcde") * 10})
    table, _ = _of(frame)
    rows = table.rows(*table.read(frame))
    candidates = Candidates(2, (), Learning(3, 40.0), seed=5)
    _, *normal = candidates._recipes(table, rows)
    assert len(normal) == 3
    assert len({recipe.seed for recipe in normal} | {5}) == 4
    first, second = ([m.mean for m in recipe.model(rows).parameters] for recipe in normal[:2])
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
