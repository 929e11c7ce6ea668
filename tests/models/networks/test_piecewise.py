"""A ReLU network is factor analysis on each piece: f(z) = W_δ z + b_δ."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from explainaway.models import deconvnet, mlp, texture_deconvnet
from explainaway.models.networks import activation_pattern, linear_piece


def _batch_normalised() -> nn.Sequential:
    """A network whose running statistics are not those it started with."""
    network = deconvnet(3, (1, 8, 8), width=4, batch_norm=True)
    with torch.no_grad():
        for _ in range(20):
            network(2 * torch.randn(16, 3) + 1)
    return network


NETWORKS = {
    "mlp": (lambda: mlp(3, (2, 4)), (3,)),
    "leaky": (lambda: mlp(3, 5, activation=lambda: nn.LeakyReLU(0.2)), (3,)),
    "in place": (lambda: mlp(3, 5, activation=lambda: nn.ReLU(inplace=True)), (3,)),
    "batch normalised": (_batch_normalised, (3,)),
    "map": (lambda: texture_deconvnet(num_layers=2, width=2), (1, 2, 3)),
}


@pytest.mark.parametrize(("make", "latent"), NETWORKS.values(), ids=NETWORKS)
def test_the_network_is_its_linear_piece(
    make: Callable[[], nn.Module], latent: tuple[int, ...]
) -> None:
    """To rounding, at the latents and at others that share their pattern."""
    network = make().double()
    z = torch.randn(6, *latent).double()
    piece = linear_piece(network, z)
    assert network.training
    network.eval()
    with torch.no_grad():
        output = network(z)
        assert piece.basis.shape == (*output.shape, *latent)
        assert piece.bias.shape == output.shape
        torch.testing.assert_close(piece.at(z), output, rtol=1e-12, atol=1e-12)
        near = z + 1e-6 * torch.randn_like(z)
        same = (activation_pattern(network, near) == piece.pattern).all(1)
        assert same.sum() >= 4
        torch.testing.assert_close(
            piece.at(near)[same], network(near)[same], rtol=1e-12, atol=1e-12
        )
        far = z + torch.randn_like(z)
        assert (piece.at(far) - network(far)).abs().max() > 1e-3


def test_the_basis_is_the_product_of_the_weights_of_active_units() -> None:
    network = mlp(2, 3, hidden=(5, 4)).double()
    z = torch.randn(7, 2).double()
    piece = linear_piece(network, z)
    first, _, second, _, last = network
    assert piece.pattern.shape == (7, 9)
    for i in range(7):
        one, two = piece.pattern[i, :5].double(), piece.pattern[i, 5:].double()
        expected = last.weight @ (two[:, None] * second.weight) @ (one[:, None] * first.weight)
        torch.testing.assert_close(piece.basis[i], expected.detach())


def test_a_line_crosses_as_many_pieces_as_its_pattern_changes() -> None:
    """One ReLU layer of 3 units whose kinks are at -1, 0 and 1: four pieces."""
    network = mlp(1, 1, hidden=(3,))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[0].bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
        network[2].weight.fill_(1.0)
        network[2].bias.zero_()
    z = torch.linspace(-2, 2, 41)[:, None] + 0.01
    patterns = activation_pattern(network, z)
    assert len({tuple(pattern.tolist()) for pattern in patterns}) == 4
    slopes = linear_piece(network, z).basis[:, 0, 0]
    assert [key for key, _ in itertools.groupby(slopes.tolist())] == [0.0, 1.0, 2.0, 3.0]


def test_chunks_give_the_same_basis() -> None:
    network, z = mlp(5, 4).double(), torch.randn(3, 5).double()
    whole = linear_piece(network, z)
    assert torch.allclose(whole.basis, linear_piece(network, z, chunk_size=2).basis)
