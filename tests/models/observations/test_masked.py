"""Missing cells: cases 8, 10, 11 and what follows from them."""

import pytest
import torch

from explainaway.inference import bind
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

from ...conftest import linear_gaussian

NAN = float("nan")


def test_a_masked_nan_does_not_reach_a_gradient() -> None:
    """Case 8 (pytorch/pytorch#64305, pyro-ppl/pyro#2447)."""
    linear = linear_gaussian(torch.tensor([[2.0], [3.0]]))
    z = torch.tensor([[0.5]], requires_grad=True)
    joint = linear.model.log_joint(torch.tensor([[NAN, 1.0]]), z)
    assert float(joint.detach()) == pytest.approx(-2.087877, abs=1e-6)
    weight = linear.model.network[0].weight
    dz, dw = torch.autograd.grad(joint.sum(), (z, weight))
    torch.testing.assert_close(dz, torch.tensor([[-2.0]]))
    torch.testing.assert_close(dw, torch.tensor([[0.0], [-0.25]]))


def test_a_masked_nan_does_not_reach_the_potential() -> None:
    linear = linear_gaussian(torch.tensor([[2.0], [3.0]]))
    energy, gradient = bind(linear.model, torch.tensor([[NAN, 1.0]]))(torch.tensor([[0.5]]))
    assert float(energy) == pytest.approx(2.087877, abs=1e-6)
    assert float(gradient) == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize(
    "mask", [torch.tensor([[0.5, 1.0]]), torch.tensor([[1, 0]], dtype=torch.uint8)]
)
def test_a_mask_is_yes_or_no(mask: torch.Tensor) -> None:
    """Case 10 (deepinv/deepinv#1167)."""
    linear = linear_gaussian(torch.ones(2, 1))
    with pytest.raises(TypeError, match=r"mask must be boolean.*Sensed"):
        bind(linear.model, torch.zeros(1, 2), mask=mask)


def test_observed_cells_are_counted_once() -> None:
    """Case 11 (pymc-devs/pymc#4617)."""
    linear = linear_gaussian(torch.zeros(4, 1))
    density = bind(linear.model, torch.tensor([[0.0, 0.0, 0.0, NAN]])).log_likelihood(
        torch.zeros(1, 1)
    )
    assert float(density) == pytest.approx(-2.756816, abs=1e-6)


def test_what_stands_in_a_hidden_cell_does_not_matter() -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3, 4)), Masked(Gaussian(0.3, torch.tanh)))
    y, mask, z = torch.rand(5, 3, 4), torch.rand(5, 3, 4) < 0.5, torch.randn(5, 2)
    by_mask = bind(model, y, mask=mask)(z)
    by_nan = bind(model, torch.where(mask, y, NAN))(z)
    absurd = bind(model, torch.where(mask, y, 1e6), mask=mask)(z)
    for a, b, c in zip(by_mask, by_nan, absurd, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_nothing_observed_leaves_the_prior() -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,)), Masked(Gaussian(0.3)))
    z = torch.randn(4, 2)
    y = torch.zeros(5, 3)
    y[:4] = NAN
    energy, gradient = bind(model, y).on(bind(model, y).data.select(torch.arange(4)))(z)
    torch.testing.assert_close(energy, -Normal(2).distribution().log_prob(z))
    torch.testing.assert_close(gradient, z)


def test_a_cell_that_no_example_has_is_warned_about() -> None:
    model = GeneratorModel(Normal(2), mlp(2, (3,)), Masked(Gaussian(0.3)))
    y = torch.zeros(4, 3)
    y[:, 1] = NAN
    with pytest.warns(UserWarning, match=r"1 of 3 cells are observed in no example.*\[1\]"):
        bind(model, y)
