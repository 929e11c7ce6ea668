"""The figures of learning: what they measure is right, and the command draws them."""

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.learning import coverage, figures
from benchmarks.learning.followed import falls_from
from benchmarks.learning.marginals import given_observed, normal_log_density
from benchmarks.learning.network_coverage import information_of_last_layer
from explainaway.inference.runs.horizon import Horizon
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, linear


def test_hidden_cells_are_as_regression_on_the_observed_ones_has_them() -> None:
    root = torch.randn(5, 5).double()
    covariance, mean = root @ root.mT + 0.1 * torch.eye(5), torch.randn(5).double()
    y = torch.randn(6, 5).double()
    y[torch.rand(y.shape) < 0.5] = torch.nan
    y[0] = torch.nan
    found = given_observed(y, mean, covariance)
    joint = torch.linalg.inv(covariance)
    for row, expected, spread in zip(y, found.mean, found.spread, strict=True):
        hidden = row.isnan()
        # In terms of the precision matrix, not of the covariance as there.
        left = torch.linalg.inv(joint[hidden][:, hidden])
        pull = left @ joint[hidden][:, ~hidden] @ (row - mean)[~hidden]
        torch.testing.assert_close(expected[hidden], mean[hidden] - pull)
        torch.testing.assert_close(spread[hidden], left.diagonal().sqrt())
        assert torch.equal(expected[~hidden], row[~hidden])
        assert bool((spread[~hidden] == 0).all())


def test_coverage_is_right_at_the_truth_and_short_where_the_noise_is_too_small() -> None:
    """Some 4,000 cells in 500 rows: a standard error of .008 at most, doubled for their rows."""
    rows = coverage.drawn_rows(50, seed=3)
    right = coverage.covered(coverage.ranks(rows, [rows.truth]))
    assert right == pytest.approx(coverage.LEVELS, abs=0.06)
    narrow = {**rows.truth, "log_scale": rows.truth["log_scale"] - 0.7}
    assert coverage.covered(coverage.ranks(rows, [narrow]))[2] < 0.75
    # What is too narrow and what is too wide, put together, is between them.
    wide = {**rows.truth, "log_scale": rows.truth["log_scale"] + 0.7}
    each = [coverage.covered(coverage.ranks(rows, [one]))[2] for one in (narrow, wide)]
    both = coverage.covered(coverage.ranks(rows, [narrow, wide]))[2]
    assert each[0] < both < each[1]


def test_laplace_does_not_rotate_the_latents_and_narrows_with_the_rows() -> None:
    """Of 30 draws a standard deviation has an error of 13 %; nine times the rows make it 1/3."""
    spreads = []
    for n in (60, 540):
        rows = coverage.drawn_rows(n, seed=4)
        weight = rows.truth["weight"]
        drawn = coverage.around_last_layer(rows.train, rows.truth, 30, seed=0)
        moves = torch.stack([one["weight"] - weight for one in drawn])
        turn = torch.zeros(coverage.LATENTS, coverage.LATENTS).double()
        turn[0, 1], turn[1, 0] = 1, -1
        along = (moves * (weight @ turn)).sum((1, 2)) / (weight @ turn).norm()
        assert float(along.abs().max()) < 1e-6
        spreads.append(float(torch.stack([one["bias"] for one in drawn]).std(0).mean()))
    assert 2.2 < spreads[0] / spreads[1] < 4


def test_the_information_of_a_last_layer_is_the_hessian_of_the_exact_likelihood() -> None:
    """3,000 exact draws of each latent: entries are off by some 2 % of the largest."""
    generator = torch.Generator().manual_seed(0)
    n, columns, d, scale = 40, 4, 2, 0.5
    model = GeneratorModel(Normal(d), linear(d, columns), Masked(Gaussian(scale)))
    y = model.generate(n, seed=0, noise=True)
    y[torch.rand(y.shape, generator=generator) < 0.25] = torch.nan
    layer = next(iter(model.network.children()))
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    seen = (~y.isnan()).double()
    precision = torch.eye(d) + torch.einsum("nk,ki,kj->nij", seen, weight, weight) / scale**2
    covariance = torch.linalg.inv(precision)
    pull = ((y.double() - bias).nan_to_num() @ weight / scale**2)[..., None]
    noise = torch.randn(3000, n, d, 1, generator=generator).double()
    drawn = (covariance @ pull + torch.linalg.cholesky(covariance) @ noise)[..., 0]

    def energy(flat: torch.Tensor) -> torch.Tensor:
        rows = flat.reshape(columns, d + 1)
        marginal = rows[:, :d] @ rows[:, :d].mT + scale**2 * torch.eye(columns)
        return -normal_log_density(y.double(), rows[:, d], marginal).sum()

    at = torch.cat([weight, bias[:, None]], 1).flatten()
    exact = torch.autograd.functional.hessian(energy, at)
    found = information_of_last_layer(model, y, drawn.float())
    assert float((found - exact).abs().max()) < 0.06 * float(exact.abs().max())


def test_where_the_rate_begins_to_fall_is_seen() -> None:
    for epochs in (40, 100, 1000):
        horizon = Horizon(epochs)
        # As the last of ten batches, or of two, has it.
        for last in (0.9, 0.5):
            rates = [0.05 * horizon.rate(epoch + last) for epoch in range(epochs)]
            assert falls_from(rates) == horizon.before_fall


def test_the_command_measures_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    given = ["figures", "--smoke", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.warns(UserWarning, match="proposals diverged"):  # in three epochs
        figures.main()
    path = tmp_path / "learning_figures.json"
    numbers = json.loads(path.read_text())
    assert list(numbers) == list(figures.FIGURES)
    assert len(numbers["how_long"]["gap"]) == len(numbers["how_long"]["loss"]) == 3
    assert {run["hold_out"] for run in numbers["how_noisy"]["runs"]} == {"auto", None}
    pictures = [tmp_path / f"learning_{name}.png" for name in figures.FIGURES]
    assert all(picture.stat().st_size < 150_000 for picture in pictures)
    assert "| 200 | true θ |" in capsys.readouterr().out
    written = path.read_text()
    pictures[-1].unlink()
    monkeypatch.setattr(sys, "argv", [*given, "--redraw", "--only", "how_sure"])
    figures.main()
    assert pictures[-1].is_file()
    assert path.read_text() == written
    torch.set_num_threads(threads)
    monkeypatch.setattr(sys, "argv", ["figures", "--smoke"])
    with pytest.raises(SystemExit):
        figures.main()
