"""Adam with steps relative to the size of what it moves."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import RelativeAdam


def _learned(
    parameters: list[Tensor], optimizer: torch.optim.Optimizer, steps: int = 3
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        for parameter in parameters:
            gradient = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def _parameters(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ConvTranspose2d(4, 6, 5)).to(dtype)
    return list(network.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_is_adams_with_each_tensors_own_rate(dtype: torch.dtype) -> None:
    """Of torch's Adam with a group for each tensor, its rate set before each step."""
    ours, plain = _parameters(dtype), _parameters(dtype)
    optimizer = RelativeAdam(ours, lr=0.03)
    adam = torch.optim.Adam([{"params": [p]} for p in plain], foreach=False)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for a, b in zip(ours, plain, strict=True):
            a.grad = torch.randn(a.shape, generator=generator, dtype=dtype)
            b.grad = a.grad.clone()
        for group in adam.param_groups:
            (p,) = group["params"]
            floor = 1e-3 if p.dim() > 1 else 0.1
            group["lr"] = 0.03 * max(float(p.detach().square().mean().sqrt()), floor)
        optimizer.step()
        adam.step()
    torch.testing.assert_close(ours, plain)


def test_a_step_scales_with_its_tensor_and_has_a_floor() -> None:
    large = torch.full((2, 3), -400.0, requires_grad=True)
    weight, bias, number = (torch.zeros(s, requires_grad=True) for s in ((2, 3), (3,), ()))
    optimizer = RelativeAdam([large, weight, bias, number], lr=0.01)
    for parameter in (large, weight, bias, number):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(large.detach(), torch.full((2, 3), -404.0))
    torch.testing.assert_close(weight.detach(), torch.full((2, 3), -1e-5))
    torch.testing.assert_close(bias.detach(), torch.full((3,), -1e-3))
    torch.testing.assert_close(number.detach(), torch.tensor(-1e-3))


def test_it_goes_on_from_its_state() -> None:
    whole, parts = _parameters(), _parameters()
    _learned(whole, RelativeAdam(whole), 2)
    _learned(parts, RelativeAdam(parts), 2)
    first = RelativeAdam(whole)
    _learned(whole, first, 2)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    second = RelativeAdam(parts)
    _learned(parts, second, 2)
    file.seek(0)
    third = RelativeAdam(parts)
    third.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(
        _learned(whole, first, 2), _learned(parts, third, 2), rtol=0.0, atol=0.0
    )


def test_complex_and_absent_gradients_are_taken_as_torch_does() -> None:
    value = torch.tensor([3.0 + 4.0j, 0.0], requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    optimizer = RelativeAdam([value, unused], lr=0.1)
    value.grad = torch.tensor([1.0 - 1.0j, 0.0])

    def closure() -> str:
        return "loss"

    assert optimizer.step(closure) == "loss"
    step = 0.1 * 5 / 2**0.5
    expected = torch.tensor([3.0 - step + (4.0 + step) * 1j, 0.0])
    torch.testing.assert_close(value.detach(), expected)
    assert torch.equal(unused.detach(), torch.ones(2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lr": 0.0}, r"lr must be positive, got 0\.0"),
        ({"eps": -1.0}, "eps must be positive"),
        ({"floor": (0.0, 0.1)}, r"floor\[0\] must be positive"),
        ({"betas": (0.9, 1.0)}, "betas must be at least 0 and below 1"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RelativeAdam([torch.zeros(2, requires_grad=True)], **settings)
