"""Sub-pixel forms of deconvolutions: the same numbers, taken only where they are faster."""

import pytest
import torch

from explainaway.inference import bind
from explainaway.inference.potentials.potential import Potential
from explainaway.inference.speed import deconvolution
from explainaway.inference.speed.deconvolution import Form, subpixel_filters
from explainaway.models import Gaussian, GeneratorModel, Normal, deconvnet

from ...conftest import assert_as_plain


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(5, 2, 2), (4, 2, 1), (7, 3, 2), (9, 4, 3)]
)
@pytest.mark.parametrize("last", [False, True])
def test_the_sub_pixel_form_is_the_deconvolution(
    size: int, stride: int, padding: int, last: bool
) -> None:
    form = Form(size, stride, padding)
    assert form.is_symmetric
    image = torch.randn(2, 3, 4, 5, dtype=torch.double)
    weight = torch.randn(3, 6, size, size, dtype=torch.double)
    if last:
        weight = weight.contiguous(memory_format=torch.channels_last)
    extra = stride + 2 * padding - size
    expected = torch.conv_transpose2d(image, weight, None, stride, padding, output_padding=extra)
    filters = subpixel_filters(weight, stride, padding)
    assert filters.is_contiguous() != last
    got = torch.pixel_shuffle(torch.conv2d(image, filters, padding=form.reach), stride)
    assert expected.shape[2:] == (4 * stride, 5 * stride)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_a_captured_network_in_sub_pixel_form_gives_the_same_energies_and_gradients(
    batch_norm: bool, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Form] = []

    def always(form: Form, *others: object) -> bool:
        asked.append(form)
        return True

    monkeypatch.setattr(deconvolution, "subpixels_are_faster", always)
    monkeypatch.setattr(deconvolution, "WORTH_A_TRIAL", 0)
    network = deconvnet(3, (3, 16, 16), width=4, batch_norm=batch_norm).eval()
    model = GeneratorModel(Normal(3), network, Gaussian(0.3, torch.tanh))
    if last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    y, z = 2 * torch.rand(4, 3, 16, 16) - 1, torch.randn(4, 3)
    potential = bind(model, y, capture=True)
    potential(z)
    (graph,) = potential.evaluator.graphs
    kinds = [str(node.target) for node in graph.module.graph.nodes]
    assert kinds.count("aten.pixel_shuffle.default") == 2
    assert set(asked) == {Form(5, 2, 2)}
    assert_as_plain(potential, z, list(model.parameters()))


def test_weights_changed_in_place_are_rearranged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deconvolution, "subpixels_are_faster", lambda *_: True)
    monkeypatch.setattr(deconvolution, "WORTH_A_TRIAL", 0)
    network = deconvnet(3, (1, 8, 8), width=4, batch_norm=False)
    model = GeneratorModel(Normal(3), network, Gaussian(0.3))
    potential, z = bind(model, torch.rand(4, 1, 8, 8), capture=True), torch.randn(4, 3)
    before = potential(z)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    after = potential(z)[0]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, potential.plain()(z)[0])


@pytest.mark.parametrize(
    "changed", [{"groups": 2}, {"dilation": 2}, {"stride": 1, "output_padding": 0}, {"padding": 1}]
)
def test_other_deconvolutions_stay_as_they_are(
    changed: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deconvolution, "subpixels_are_faster", lambda *_: True)
    monkeypatch.setattr(deconvolution, "WORTH_A_TRIAL", 0)
    given = {"stride": 2, "padding": 2, "output_padding": 1} | changed
    layer = torch.nn.ConvTranspose2d(2, 2, 5, **given)
    network = torch.nn.Sequential(torch.nn.Unflatten(1, (2, 4, 4)), layer)
    model = GeneratorModel(Normal(32), network, Gaussian(0.3))
    y = model.generate(2, seed=0)
    potential: Potential = bind(model, y, capture=True)
    potential(torch.randn(2, 32))
    (graph,) = potential.evaluator.graphs
    assert "pixel_shuffle" not in str(graph.module.graph)


def test_small_ones_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deconvolution, "subpixels_are_faster", lambda *_: True)
    model = GeneratorModel(Normal(3), deconvnet(3, (1, 8, 8), width=4), Gaussian(0.3)).eval()
    potential, z = bind(model, torch.rand(4, 1, 8, 8), capture=True), torch.randn(4, 3)
    assert torch.equal(potential(z)[1], potential.plain()(z)[1])


def test_what_is_slower_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.9, 1.0, 0.7, 1.0])
    monkeypatch.setattr(deconvolution, "least_seconds", lambda work, num_calls: next(seconds))
    deconvolution.subpixels_are_faster.cache_clear()
    assert not deconvolution.subpixels_are_faster(Form(5, 2, 2), (1, 2, 4, 4), 3, True, 1)
    assert deconvolution.subpixels_are_faster(Form(5, 2, 2), (1, 2, 4, 4), 4, True, 1)
    deconvolution.subpixels_are_faster.cache_clear()


def test_images_in_another_order_in_memory_are_captured() -> None:
    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.deep = torch.nn.Linear(3, 768), deconvnet(3, (3, 16, 16), width=4)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.linear(z).unflatten(1, (3, 16, 16)) + self.deep(z)

    model = GeneratorModel(Normal(3), Sum(), Gaussian(0.3))
    y = torch.rand(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    assert_as_plain(bind(model, y, capture=True), torch.randn(4, 3), list(model.parameters()))
