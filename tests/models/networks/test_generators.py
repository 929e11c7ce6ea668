import pytest
import torch
from torch import nn

from explainaway.models import deconvnet, mlp


@pytest.mark.parametrize("shape", [(7,), (2, 5), 6])
def test_mlp_gives_the_asked_shape_and_ends_linear(shape: int | tuple[int, ...]) -> None:
    network = mlp(3, shape, hidden=(8,))
    expected = (shape,) if isinstance(shape, int) else shape
    assert network(torch.randn(4, 3)).shape == (4, *expected)
    assert isinstance([m for m in network if not isinstance(m, nn.Unflatten)][-1], nn.Linear)


def test_mlp_without_hidden_layers_is_linear() -> None:
    network = mlp(3, 5, hidden=())
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    origin = network(torch.zeros(2, 3))
    torch.testing.assert_close(network(a + b) + origin, network(a) + network(b))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28), (1, 28, 20), (1, 8, 8), (2, 12, 16)])
def test_deconvnet_gives_the_asked_shape(shape: tuple[int, int, int]) -> None:
    assert deconvnet(5, shape, width=4)(torch.randn(2, 5)).shape == (2, *shape)


def test_deconvnet_has_the_papers_structure() -> None:
    network = deconvnet(100, (3, 64, 64), width=64, batch_norm=True)
    deconvolutions = [m for m in network if isinstance(m, nn.ConvTranspose2d)]
    assert [m.in_channels for m in deconvolutions] == [512, 256, 128, 64]
    assert all(m.kernel_size == (5, 5) and m.stride == (2, 2) for m in deconvolutions)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network) == 4
    assert network[-1] is deconvolutions[-1]
    assert deconvolutions[-1].bias is not None
    assert not any(isinstance(m, nn.BatchNorm2d) for m in deconvnet(5, (3, 64, 64), width=4))
