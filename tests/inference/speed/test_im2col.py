"""Deconvolutions as matrix products: the same numbers, taken only where they are faster."""

import pytest
import torch

from explainaway.inference import bind
from explainaway.inference.speed import im2col
from explainaway.inference.speed.deconvolution import Form, deconvolved
from explainaway.inference.speed.im2col import convolution_by_im2col, deconvolution_by_im2col
from explainaway.models import Gaussian, GeneratorModel, Normal, deconvnet

from ...conftest import assert_as_plain


@pytest.mark.parametrize("form", [Form(5, 2, 2), Form(4, 2, 1), Form(7, 3, 2), Form(9, 4, 3)])
@pytest.mark.parametrize("sides", [(4, 5), (1, 2)])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("onednn", [False, True])
def test_the_product_is_the_deconvolution_and_its_transpose(
    form: Form, sides: tuple[int, int], last: bool, onednn: bool
) -> None:
    image = torch.randn(2, 3, *sides, dtype=torch.double)
    weight = torch.randn(3, 6, form.size, form.size, dtype=torch.double)
    matrix = weight.permute(0, 2, 3, 1).reshape(3, -1)
    expected = deconvolved(image, weight, form)
    got = deconvolution_by_im2col(image, matrix, *form, last, onednn)
    torch.testing.assert_close(got, expected)
    assert got.is_contiguous() != last
    below = torch.randn_like(expected)
    turned = convolution_by_im2col(below, matrix, *form, last, onednn)
    torch.testing.assert_close((turned * image).sum(), (below * expected).sum())
    torch.testing.assert_close(
        turned, torch.conv2d(below, weight, stride=form.stride, padding=form.padding)
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Choose the product in every case, and return what was asked for."""
    asked: list[tuple[object, ...]] = []

    def always(*arguments: object) -> bool:
        asked.append(arguments)
        return True

    monkeypatch.setattr(im2col, "im2col_is_faster", always)
    monkeypatch.setattr(im2col, "WORTH_A_TRIAL", 0)
    return asked


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_a_captured_network_by_products_gives_the_same_energies_and_gradients(
    batch_norm: bool, last: bool, asked: list[tuple[object, ...]]
) -> None:
    network = deconvnet(3, (3, 16, 16), width=4, batch_norm=batch_norm).eval()
    model = GeneratorModel(Normal(3), network, Gaussian(0.3, torch.tanh))
    if last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    y, z = 2 * torch.rand(4, 3, 16, 16) - 1, torch.randn(4, 3)
    potential = bind(model, y, capture=True)
    potential(z)
    (graph,) = potential.evaluator.graphs
    kinds = [
        str(node.target).split(".")[1]
        for node in graph.module.graph.nodes
        if node.op == "call_function" and "." in str(node.target)
    ]
    assert kinds.count("deconvolution_by_im2col") == 2
    assert kinds.count("convolution_by_im2col") == 2
    assert not {"convolution", "convolution_backward"} & set(kinds)
    assert {arguments[4] for arguments in asked} == {False, True}
    assert_as_plain(potential, z, list(model.parameters()))


def test_weights_changed_in_place_are_seen(asked: list[tuple[object, ...]]) -> None:
    network = deconvnet(3, (1, 8, 8), width=4, batch_norm=False)
    model = GeneratorModel(Normal(3), network, Gaussian(0.3))
    potential, z = bind(model, torch.rand(4, 1, 8, 8), capture=True), torch.randn(4, 3)
    before = potential(z)[0]
    assert asked
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    after = potential(z)[0]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, potential.plain()(z)[0])


def test_gradients_in_the_filters_stay_convolutions(asked: list[tuple[object, ...]]) -> None:
    network = deconvnet(3, (1, 8, 8), width=4, batch_norm=False)
    model = GeneratorModel(Normal(3), network, Gaussian(0.3))
    potential, z = bind(model, torch.rand(4, 1, 8, 8), capture=True), torch.randn(4, 3)
    potential.loss_and_gradients(z, list(model.parameters()))
    (graph,) = potential.evaluator.graphs
    assert "convolution_backward" in str(graph.module.graph)
    assert {arguments[4] for arguments in asked} == {False}


def test_what_is_slower_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(seconds: list[float], backward: bool) -> bool:
        taken = iter(seconds)
        monkeypatch.setattr(im2col, "least_seconds", lambda work, num_calls: next(taken))
        im2col.im2col_is_faster.cache_clear()
        return im2col.im2col_is_faster(Form(5, 2, 2), (1, 2, 4, 4), 3, True, backward, False, 1)

    assert chosen([0.7, 1.0, 1.0], backward=False)
    assert not chosen([0.7, 1.0, 0.8], backward=False)
    assert not chosen([0.9, 1.0], backward=True)
    assert chosen([0.7, 1.0], backward=True)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert not chosen([0.1, 1.0], backward=True)
    im2col.im2col_is_faster.cache_clear()
