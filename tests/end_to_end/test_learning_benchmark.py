"""What the benchmark of learning measures on hidden cells and generated examples, and its rows."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.learning import __main__ as harness
from benchmarks.learning.candidates import CANDIDATES, falling
from benchmarks.learning.held_out import Budget, HeldOut, cell_spread, relative_frechet
from benchmarks.learning.known import Trial
from benchmarks.learning.linear_problems import ppca
from benchmarks.learning.runs import row_of
from explainaway.models import ColoredGaussian, Masked

from ..conftest import linear_gaussian

WEIGHT = torch.tensor([[1.5, 0.0], [1.0, 0.8], [0.0, 1.2], [-0.7, 0.7], [0.5, -1.0]])
NOISE = 0.4


def _conditional(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (n, D) of each hidden cell given the observed ones of its row."""
    covariance = (WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(5)).double()
    mean, variance = torch.zeros_like(y).double(), torch.ones_like(y).double()
    for i, row in enumerate(y.double()):
        hidden = row.isnan()
        gain = torch.linalg.solve(
            covariance[~hidden][:, ~hidden], covariance[~hidden][:, hidden]
        ).mT
        mean[i, hidden] = gain @ row[~hidden]
        left = covariance[hidden][:, hidden] - gain @ covariance[~hidden][:, hidden]
        variance[i, hidden] = left.diagonal()
    return mean, variance


def test_at_the_true_parameters_the_score_is_that_of_the_exact_conditional() -> None:
    """300 rows, 40 % hidden, 400 draws of each.

    A mixture of 400 normals has, by Jensen, up to .5 variance/400 more nats a cell, below .004;
    its Monte Carlo error over 600 cells is a tenth of that. The Fréchet distance of 4,000 rows
    to 300 of the same distribution is below (d + 1) / 300 for d independent components, .02.
    """
    linear = linear_gaussian(WEIGHT, NOISE)
    whole = linear.model.generate(300, seed=1, noise=True)
    hidden = torch.rand(whole.shape) < 0.4
    y = torch.where(hidden, torch.nan, whole)
    mean, variance = _conditional(y)
    exact = torch.distributions.Normal(mean, variance.sqrt()).log_prob(whole.double())[hidden]
    problem = HeldOut(
        "linear", lambda seed, learn: Trial(linear.model, (y,)), whole, 5, True, Budget(50, 400, 2)
    )
    score = problem.score(linear.model, torch.zeros(300, 2), y)
    assert score.nats == pytest.approx(-float(exact.mean()), abs=0.01)
    exact_rmse = float((mean - whole)[hidden].square().mean().sqrt())
    assert score.rmse == pytest.approx(exact_rmse, abs=0.01)
    # Cells of one row depend on each other, so the error is near that of independent cells.
    independent = float(exact.std()) / len(exact) ** 0.5
    assert 0.7 * independent < score.standard_error < 2 * independent
    assert score.frechet < 0.03


def test_worse_parameters_have_a_worse_score() -> None:
    linear = linear_gaussian(WEIGHT, NOISE)
    whole = linear.model.generate(300, seed=1, noise=True)
    y = torch.where(torch.rand(whole.shape) < 0.4, torch.nan, whole)
    scores = []
    for factor in (1.0, 0.5):
        other = linear_gaussian(factor * WEIGHT, NOISE).model
        problem = HeldOut(
            "linear", lambda seed, learn, m=other: Trial(m, (y,)), whole, 5, True, Budget(30, 20, 2)
        )
        scores.append(problem.score(other, torch.zeros(300, 2), y))
    assert scores[1].nats > scores[0].nats + 3 * scores[0].standard_error
    assert scores[1].frechet > scores[0].frechet + 0.1


def test_the_spread_of_coloured_cells_is_that_given_the_observed_ones() -> None:
    length = 7
    scale = 0.3 + torch.rand(9)
    scale = (scale + torch.roll(scale.flip(0), 1)) / 2
    noise = ColoredGaussian(length, scale, padding=2, learn_spectrum=False)
    y = torch.randn(4, length)
    y[torch.rand(y.shape) < 0.4] = torch.nan
    found = cell_spread(Masked(noise), y)
    # Circulant on the torus of nine cells: F* diag(spectrum) F.
    fourier = torch.fft.fft(torch.eye(9)) / 3
    matrix = (fourier.conj().T @ (noise.spectrum + 0j).diag() @ fourier).real[:length, :length]
    for row, spread in zip(y, found, strict=True):
        hidden = row.isnan()
        left = matrix[hidden][:, hidden] - matrix[hidden][:, ~hidden] @ torch.linalg.solve(
            matrix[~hidden][:, ~hidden], matrix[~hidden][:, hidden]
        )
        assert torch.allclose(spread[hidden], left.diagonal().sqrt(), atol=1e-5)


def test_the_frechet_distance_has_its_closed_forms() -> None:
    real = torch.randn(50, 6) * torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    centre = real.mean(0)
    assert relative_frechet(real, real, 6) == pytest.approx(0, abs=1e-9)
    assert relative_frechet(real, centre.expand(9, -1), 6) == pytest.approx(1)
    # Twice as wide and moved by one total standard deviation: 1 + (2 - 1)².
    total = torch.cov(real.T, correction=0).trace()
    moved = centre + 2 * (real - centre) + (total / 6).sqrt()
    assert relative_frechet(real, moved, 6) == pytest.approx(2, rel=1e-5)


def test_the_rate_falls_to_zero() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = falling(optimizer, 10)
    rates = []
    for _ in range(10):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[:7] == [2.0] * 7
    assert rates[7:] == pytest.approx([1.5, 1.0, 0.5])
    assert scheduler.get_last_lr() == [0.0]


def test_a_start_at_factor_analysis_is_a_start_at_the_maximum() -> None:
    problem = ppca()
    trial = problem.make(0, False)
    start = CANDIDATES["factor_analysis_start"].start
    assert start is not None
    start(trial)
    assert problem.gap(trial.model).nats < 1e-4


def test_a_row_says_what_was_reached() -> None:
    problem = ppca()
    rows = [
        row_of(problem, CANDIDATES[name], 0, smoke=True) for name in ("adam_1e-3", "adam_2e-2_mean")
    ]
    assert [row["epochs"] for row in rows] == [2, 2]
    # 20 steps of .02 lead further than of .001.
    assert rows[1]["gap"] < rows[0]["gap"]


def _run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    monkeypatch.setattr(sys, "argv", ["learning", "--smoke", *options])
    threads = torch.get_num_threads()
    harness.main()
    torch.set_num_threads(threads)
    return capsys.readouterr().out


def test_a_run_goes_on_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_all = (
        "--problems",
        "beta_binomial",
        "--candidates",
        "adam_1e-3,adam_1e-2_cosine",
        "--output",
        str(tmp_path),
    )
    told = _run(monkeypatch, capsys, *of_all)
    assert told.count("gap") == 2
    path = tmp_path / "learning.json"
    rows = json.loads(path.read_text())
    assert [row["candidate"] for row in rows] == ["adam_1e-3", "adam_1e-2_cosine"]
    path.write_text(json.dumps(rows[1:]))
    told = _run(monkeypatch, capsys, *of_all)
    assert told.count("gap") == 1
    again = json.loads(path.read_text())
    assert [row["gap"] for row in again] == [row["gap"] for row in rows]
    assert "| adam_1e-3 |" in (tmp_path / "learning.md").read_text()
    assert (tmp_path / "learning.png").stat().st_size < 300_000
    assert _run(monkeypatch, capsys, *of_all, "--again").count("gap") == 2


def test_what_is_not_there_is_left_out_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _run(
        monkeypatch,
        capsys,
        *("--problems", "faces_hole,beta_binomial", "--candidates", "factor_analysis_start"),
        *("--data", str(tmp_path), "--output", str(tmp_path)),
    )
    assert "faces_hole: left out, there is no" in told
    assert "put it there" in told
    assert "beta_binomial, factor_analysis_start: left out" in told
