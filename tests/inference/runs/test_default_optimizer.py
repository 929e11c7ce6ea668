"""The optimizer that is taken where none is named: Adam as one operation."""

import pytest
import torch
from torch import Tensor, nn

from explainaway.inference.runs.default_optimizer import LEARNING_RATE, default_optimizer


def _learned(parameters: list[Tensor], optimizer: torch.optim.Optimizer) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for parameter in parameters:
            gradient = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels_last", [False, True])
def test_it_learns_what_adam_learns(dtype: torch.dtype, channels_last: bool) -> None:
    def parameters() -> list[Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.ConvTranspose2d(4, 6, 5)).to(dtype)
        if channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return list(network.parameters())

    ours, plain = parameters(), parameters()
    optimizer = default_optimizer(ours)
    assert optimizer.defaults["fused"]
    got = _learned(ours, optimizer)
    expected = _learned(plain, torch.optim.Adam(plain, lr=LEARNING_RATE))
    torch.testing.assert_close(got, expected)


def test_parameters_that_the_one_operation_cannot_take_are_learned_too() -> None:
    gaps = torch.zeros(4, 6)[:, ::2].requires_grad_()
    kinds = [torch.zeros(2, requires_grad=True), torch.zeros(2, dtype=torch.float64)]
    for parameters in ([gaps], [kinds[0], kinds[1].requires_grad_()]):
        optimizer = default_optimizer(parameters)
        assert not optimizer.defaults["fused"]
        expected = [p.detach().contiguous().requires_grad_() for p in parameters]
        plain = torch.optim.Adam(expected, lr=LEARNING_RATE)
        torch.testing.assert_close(_learned(parameters, optimizer), _learned(expected, plain))
