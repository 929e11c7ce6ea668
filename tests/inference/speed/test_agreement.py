"""What counts as the same numbers: everything but rounding, and the few rows that it tips over."""

import pytest
import torch
from torch import Tensor, fx

from explainaway.inference import CaptureWarning, bind
from explainaway.inference.speed import graph, tracing
from explainaway.inference.speed.agreement import agree, mostly_agree
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp


def test_rounding_agrees_and_a_thousandth_does_not() -> None:
    a = torch.linspace(-1.0, 1.0, 12, dtype=torch.double).reshape(4, 3)
    assert agree([a], [a * (1 + 1e-6)])
    assert not agree([a], [a * (1 + 1e-3)])
    assert agree([a > 0], [a > 0])
    assert not agree([a > 0], [a < 0])


def test_one_row_may_be_far_off_and_two_may_not() -> None:
    a = torch.ones(16, 3)
    b = a.clone()
    b[3] = 7.0
    assert mostly_agree([b], [a], 1e-2)
    b[5] = torch.nan
    assert not mostly_agree([b], [a], 1e-2)


@pytest.mark.parametrize("shape", [(), (1,), (15,)])
def test_none_of_few_rows_may_be_far_off(shape: tuple[int, ...]) -> None:
    a = torch.ones(shape)
    assert mostly_agree([1.001 * a], [a], 1e-2)
    assert not mostly_agree([torch.full(shape, torch.nan)], [a], 1e-2)
    b = a.clone().reshape(-1)
    b[0] = 100.0
    assert not mostly_agree([b.reshape(shape)], [a], 1e-2)


def _scaled(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other arithmetic multiply each ReLU's gradient by a factor."""

    def rewrite(nodes: fx.Graph, *_: object) -> None:
        (gate,) = (n for n in nodes.nodes if "threshold_backward" in str(n.target))
        with nodes.inserting_after(gate):
            scaled = nodes.call_function(torch.ops.aten.mul.Scalar, (gate, factor))
        scaled.meta["val"] = gate.meta["val"]
        gate.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)

    monkeypatch.setattr(graph, "use_faster_arithmetic", rewrite)


@pytest.mark.parametrize(("factor", "kept"), [(1.002, True), (1.5, False)])
def test_other_arithmetic_is_kept_while_it_moves_gradients_by_little(
    factor: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that rounds to the other side refused a deconvolutional network's graph altogether."""
    _scaled(factor, monkeypatch)
    model = GeneratorModel(Normal(3), mlp(3, (6,), hidden=(8,)), Gaussian(0.3))
    potential, z = bind(model, torch.rand(5, 6), capture=True), torch.randn(5, 3)
    gradient: Tensor = potential(z)[1]
    assert potential.evaluator.graphs, "the model was not captured"
    expected = potential.plain()(z)[1]
    assert torch.equal(gradient, expected) != kept
    torch.testing.assert_close(gradient, expected, rtol=1e-2, atol=1e-1)


def test_what_was_captured_must_be_right_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = graph.capture

    def wrong(*arguments: object) -> graph.Graph:
        _scaled(1.002, monkeypatch)
        return whole(*arguments[:4])  # type: ignore[arg-type]

    monkeypatch.setattr(tracing, "capture", wrong)
    model = GeneratorModel(Normal(3), mlp(3, (6,), hidden=(8,)), Gaussian(0.3))
    potential, z = bind(model, torch.rand(5, 6), capture=True), torch.randn(5, 3)
    with pytest.warns(CaptureWarning, match="other numbers than the model elsewhere"):
        gradient = potential(z)[1]
    assert torch.equal(gradient, potential.plain()(z)[1])
