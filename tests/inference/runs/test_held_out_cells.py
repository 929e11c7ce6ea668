"""Held-out cells: which they are, what is predicted of them, and what is done about it."""

import functools
import math
import signal
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from explainaway.inference import HMC, MALA, AlternatingBackProp, Fit, NoProgress
from explainaway.inference.potentials.data import ExampleData
from explainaway.inference.runs.held_out_cells import HeldOutCells, held_out_cells
from explainaway.inference.runs.held_out_score import HeldOutScore
from explainaway.models import ColoredGaussian, Gaussian, GeneratorModel, Masked, Normal, mlp

from ...conftest import linear_gaussian


def _data(n: int = 400, columns: int = 8) -> Tensor:
    y = torch.randn(n, 2) @ torch.randn(2, columns) + 0.3 * torch.randn(n, columns)
    return torch.where(torch.rand(n, columns) < 0.75, y, torch.nan)


def _model(columns: int = 8, **noise: Any) -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (columns,)), Masked(Gaussian(0.3, **noise)))


def _cells(y: Tensor, hold_out: Any = "auto", **more: Any) -> HeldOutCells | None:
    examples = ExampleData((y,), {}, len(y))
    return held_out_cells(_model(y.shape[1]), examples, hold_out, more.pop("seed", 0), **more)


def _held(cells: HeldOutCells | None, y: Tensor) -> Tensor:
    assert cells is not None
    held: Tensor = cells.data.args[0].isnan() & ~y.isnan()
    return held


def test_the_split_belongs_to_the_seed_and_the_example() -> None:
    y, order = _data(), torch.randperm(400)
    held = _held(_cells(y, ids=None), y)
    assert torch.equal(_held(_cells(y[order], ids=order), y[order]), held[order])
    assert not torch.equal(_held(_cells(y, ids=None, seed=1), y), held)


def test_the_share_goes_by_how_many_cells_are_observed() -> None:
    """5 % of few, 2,000 cells of more, 2 % of many; none of complete data, or of under 2,000."""
    for n, columns, expected in ((400, 8, 0.05), (4000, 30, 2000 / 90_000), (4000, 60, 0.02)):
        y = _data(n, columns)
        number = int((~y.isnan()).sum())
        held = int(_held(_cells(y, ids=None), y).sum())
        assert abs(held - expected * number) < 6 * math.sqrt(expected * number)
    assert _cells(_data(300), ids=None) is None
    assert _cells(_data().nan_to_num(), ids=None) is None
    assert _cells(_data(), None, ids=None) is None
    assert _cells(_data(), ids=None, allowed=False) is None
    assert _cells(_data().nan_to_num(), 0.1, ids=None) is not None


def test_every_example_keeps_a_cell() -> None:
    y = torch.full((1000, 3), torch.nan)
    y[:, 0] = 1.0
    y[:500, 1] = 1.0
    held = _held(_cells(y, 0.4, ids=None), y)
    assert bool((~y.isnan() & ~held).any(1).all())
    assert held[:500].any()
    assert not held[500:].any()


class Until:
    """A stop rule that ends a run after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __call__(self, history: Any) -> bool:
        return len(history["loss"]) >= self.epoch


def _fit(
    model: GeneratorModel, y: Tensor, epochs: int = 10, optimizer: Any = None, **more: Any
) -> Fit:
    settings: dict[str, Any] = {"progress": False, **more}
    abp = AlternatingBackProp(model, batch_size=80, inference_steps=2, optimizer=optimizer)
    return abp.fit(y, epochs=epochs, **settings)


def test_a_held_out_cell_does_not_matter_until_all_are_learned_from() -> None:
    """Law 3, over 8 epochs, half of the fall; a ninth sees the other value."""
    y = _data()
    other = torch.where(_held(_cells(y, ids=None), y), y + 5.0, y)
    for epochs, same in ((8, True), (9, False)):
        ends = []
        for given in (y, other):
            model = _model()
            # So slow that neither looks worse: the end of the stretch is what the cells decide.
            slow = torch.optim.Adam(model.parameters(), lr=1e-5)
            fit = _fit(model, given, optimizer=slow, stop=Until(epochs))
            ends.append((fit.latents, model.network[0].weight.detach().clone(), fit))
        assert torch.equal(ends[0][0], ends[1][0]) is same
        assert torch.equal(ends[0][1], ends[1][1]) is same
        scores = [fit.held_out.per_cell().mean for *_, fit in ends]
        assert scores[1] > scores[0] + 10


def test_the_history_tells_of_each_stretch() -> None:
    fit = _fit(_model(), _data())
    number = fit.history["num_held_out"]
    assert all(n == number[0] > 50 for n in number[:8])
    assert number[8:] == [0.0] * 2
    nats, errors = fit.history["held_out_nats"], fit.history["held_out_error"]
    assert all(math.isfinite(v) for v in (*nats[:8], *errors[:8]))
    assert all(math.isnan(v) for v in nats[8:])
    assert fit.held_out is not None
    assert fit.held_out.per_cell() == (nats[7], errors[7])
    assert "held-out cells" in repr(fit)
    assert _fit(_model(), _data(), epochs=1).held_out is None
    off = _fit(_model(), _data(), hold_out=None)
    assert off.held_out is None
    assert "held_out_nats" not in off.history


def test_the_predictive_density_is_the_exact_one() -> None:
    """At fixed θ of a linear model, p(y_H | y_L) of each cell is normal in closed form.

    150 nearly independent draws (5 epochs, 30 chains, HMC) of densities whose relative variance
    is about .3: the log of their mean is off by .001 and errs by .05 a cell, .005 for the mean
    over a hundred cells; .03 is six of the latter.
    """
    linear = linear_gaussian(torch.randn(8, 2), scale=0.5)
    y = torch.randn(300, 2) @ linear.weight.T + 0.5 * torch.randn(300, 8)
    y[torch.rand(y.shape) < 0.2] = torch.nan
    held = _held(_cells(y, 0.05, ids=None), y)
    abp = AlternatingBackProp(
        linear.model,
        HMC(6),
        optimizer=torch.optim.SGD(linear.model.parameters(), lr=0.0),
        batch_size=300,
        num_chains=30,
        inference_steps=5,
    )
    fit = abp.fit(y, epochs=100, hold_out=0.05, progress=False)
    mean, covariance = linear.posterior(y, ~y.isnan() & ~held)
    predicted = mean @ linear.weight.T
    variance = torch.einsum("cd,nde,ce->nc", linear.weight, covariance, linear.weight) + 0.25
    exact = -dist.Normal(predicted[held], variance[held].sqrt()).log_prob(y[held]).double()
    assert fit.held_out is not None
    assert fit.held_out.nats.shape == exact.shape
    assert float((fit.held_out.nats - exact).mean()) == pytest.approx(0.0, abs=0.03)
    assert float((fit.held_out.nats - exact).abs().max()) < 0.5


def test_correlated_noise_is_scored_by_example() -> None:
    torch.manual_seed(0)
    model = GeneratorModel(Normal(2), mlp(2, (8,)), Masked(ColoredGaussian((8,), 0.5)))
    fit = _fit(model, _data())
    score = fit.held_out
    assert score is not None
    assert len(score.example.unique()) == len(score.nats) < score.num_cells.sum()
    assert int(score.num_cells.sum()) == fit.history["num_held_out"][0]


def _digits(n: int = 600) -> Tensor:
    y = torch.tensor(load_digits().images[:n] / 8 - 1, dtype=torch.float32)
    y[torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) < 0.7] = torch.nan
    return y


def _learn_digits(hold_out: Any, epochs: int = 60, **more: Any) -> tuple[Any, ...]:
    torch.manual_seed(0)
    noise = Gaussian(1.0, learn_scale=more.pop("learn_scale", True))
    model = GeneratorModel(Normal(16), mlp(16, (8, 8), hidden=(128, 128)), Masked(noise))
    abp = AlternatingBackProp(
        model,
        more.pop("kernel", None),
        inference_steps=5,
        optimizer=lambda params: torch.optim.Adam(params, lr=1e-2),
    )
    scales: list[float] = []
    fit = abp.fit(
        _digits(),
        epochs=epochs,
        hold_out=hold_out,
        progress=False,
        callbacks=[lambda *_: scales.append(float(noise.scale.detach()))],
        **more,
    )
    return fit, scales, model


@pytest.mark.parametrize("learn_scale", [True, "closed form"])
def test_a_learned_scale_does_not_collapse(learn_scale: Any) -> None:
    """Without held-out cells it falls on and hidden pixels are predicted far worse."""
    truth = torch.tensor(load_digits().images[:600] / 8 - 1, dtype=torch.float32)
    hidden = _digits().isnan()
    results = {}
    for hold_out in ("auto", None):
        fit, scales, model = _learn_digits(hold_out, learn_scale=learn_scale)
        error = float((fit.filled - truth)[hidden].square().mean().sqrt())
        results[hold_out] = error, scales[-1]
        if hold_out == "auto":
            held_from = next(i for i, n in enumerate(fit.history["num_held_out"]) if n == 0)
            assert held_from < 36  # before the 60 % at which cells are released anyway
            assert len(set(scales[held_from:])) == 1
            assert all(p.requires_grad for p in model.parameters())
            assert not model.observation.is_held
    assert results["auto"][0] < 0.95 * results[None][0]
    assert results["auto"][1] > 1.3 * results[None][1]


class Stopping(MALA):
    """Ctrl-C at a step."""

    at = 0
    count = 0

    def step(self, *arguments: Any) -> Any:
        Stopping.count += 1
        if Stopping.count == Stopping.at:
            signal.raise_signal(signal.SIGINT)
        return super().step(*arguments)

    def __repr__(self) -> str:
        return repr(MALA())


@functools.cache
def _not_stopped() -> tuple[Any, ...]:
    return _learn_digits("auto", epochs=50)


@pytest.mark.parametrize("at", [40, 500, 1100, 1400], ids=lambda at: f"step {at} of 1500")
def test_stopped_and_resumed_gives_the_same_bits(at: int, tmp_path: Path) -> None:
    """Before the first window, in another one, with the noise held, among the means."""
    expected, _, whole = _not_stopped()
    Stopping.at, Stopping.count = at, 0
    settings: dict[str, Any] = {"epochs": 50, "checkpoint": tmp_path / "run.pt"}
    with pytest.raises(KeyboardInterrupt, match="call fit again with it to go on"):
        _learn_digits("auto", kernel=Stopping(), **settings)
    fit, _, model = _learn_digits("auto", **settings)
    assert 0.0 in expected.history["num_held_out"][:30]  # it had gone back to the best
    for name in ("latents", "mean_signal", "filled"):
        assert torch.equal(getattr(fit, name), getattr(expected, name))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True)
    )
    assert torch.equal(fit.held_out.nats, expected.held_out.nats)
    for name in expected.history.keys() - {"seconds"}:
        assert repr(fit.history[name]) == repr(expected.history[name])
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="its hold out is auto, here it is None"):
        _learn_digits(None, **settings)


def test_no_alarm_where_nothing_gets_worse() -> None:
    """At fixed θ the windows, here 24, differ by chance alone."""
    model = _model()
    abp = AlternatingBackProp(
        model,
        batch_size=400,
        inference_steps=5,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
    )
    fit = abp.fit(_data(), epochs=200, progress=False)
    assert fit.history["num_held_out"][159] > 0


def test_worse_means_by_more_than_chance() -> None:
    cells = _cells(_data(), ids=None)
    assert cells is not None
    assert not cells.is_worse()
    base = torch.randn(200).double()
    counts, example = torch.ones(200), torch.arange(200)
    for shift, worse in ((0.5 * 0.1, True), (0.1 * 0.1, False), (-1.0, False)):
        # Paired differences with standard deviation .1: an error of .1 / sqrt(200) = .007.
        now = base + shift + 0.1 * torch.randn(200)
        cells._best_score = HeldOutScore(base, counts, example)
        cells.score = HeldOutScore(now, counts, example)
        assert cells.is_worse() is worse


def test_a_few_impossible_cells_are_enough_where_the_mean_is_worse() -> None:
    """Their error hides them: one of 200 cells at 30 nats has a mean of one standard error."""
    cells = _cells(_data(), ids=None)
    assert cells is not None
    base = torch.randn(200).double()
    counts, example = torch.ones(200), torch.arange(200)
    cells._best_score = HeldOutScore(base, counts, example)
    for others, nats, worse in ((0.0, 30.0, True), (0.0, 20.0, False), (-1.0, 30.0, False)):
        now = base + others
        now[7] = base[7] + nats
        cells.score = HeldOutScore(now, counts, example)
        assert cells.is_worse() is worse


def test_chains_that_have_seen_all_cells_hold_nothing_out_by_default() -> None:
    y = _data()
    first = _fit(_model(), y, epochs=2)
    assert _fit(_model(), y, epochs=2, latents=first).held_out is None
    assert _fit(_model(), y, epochs=2, latents=first, hold_out=0.05).held_out is not None


def test_stop_rules_compare_epochs_that_learned_from_the_same_cells() -> None:
    """The loss is of more cells, so higher, when all are learned from."""
    rule = NoProgress(patience=2)
    loss = [3.0, 2.0, 2.0, 1.0, 1.5, 1.5]
    assert rule({"loss": loss})
    assert not rule({"loss": loss, "num_held_out": [9.0] * 4 + [0.0] * 2})
    nan = math.nan
    assert not NoProgress(2, key="held_out_nats")({"held_out_nats": [nan, nan, nan, 1.0, 1.0]})


def test_models_without_cells_hold_nothing_out() -> None:
    def plain(y: Tensor) -> None:
        with pyro.plate("examples", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            loc = pyro.param("loc", torch.zeros(y.shape[1]))
            pyro.sample("y", dist.Normal(loc + z[:, None], 1.0).to_event(1), obs=y)

    y = _data().nan_to_num()
    fit = AlternatingBackProp(plain).fit(y, epochs=1, progress=False)
    assert fit.held_out is None
    assert fit.mean_signal is None
    assert "held_out_nats" not in fit.history
    for model in (plain, GeneratorModel(Normal(2), mlp(2, (8,)), Gaussian(0.3))):
        with pytest.raises(ValueError, match=r"hold_out must be None here, got 0\.1"):
            AlternatingBackProp(model).fit(y, epochs=1, hold_out=0.1, progress=False)
    for wrong in (0.0, 0.5, True, "all"):
        with pytest.raises(ValueError, match='hold_out must be "auto", None or a share'):
            AlternatingBackProp(plain).fit(y, epochs=1, hold_out=wrong, progress=False)
