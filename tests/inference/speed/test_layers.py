"""Batch normalisation folded into weights: the same function, and only where nothing needs it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import bind
from explainaway.inference.potentials.potential import Potential
from explainaway.inference.speed import layers
from explainaway.models import Gaussian, GeneratorModel, Normal, deconvnet


@pytest.fixture(autouse=True)
def _small_maps_are_folded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "WORTH_FOLDING", 0)


def with_statistics(network: nn.Module) -> nn.Module:
    """Return a network in evaluation mode that normalises by something."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                if tensor is not None:
                    value = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                    tensor.data.copy_(value + 0.5)
    return network.eval()


def bound_to(network: nn.Module, sides: tuple[int, ...], latents: int = 3) -> Potential:
    model = GeneratorModel(Normal(latents), network, Gaussian(0.3)).double()
    return bind(model, torch.rand(4, *sides, dtype=torch.double), capture=True)


def norms(potential: Potential) -> int:
    """Return how often the captured graph normalises, forward or backward."""
    (graph,) = potential.evaluator.graphs
    return sum("batch_norm" in str(node.target) for node in graph.module.graph.nodes)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "deconvnet": (lambda: deconvnet(3, (3, 16, 16), width=4, batch_norm=True), (3, 16, 16)),
    "linear layers with a bias": (
        lambda: nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.BatchNorm1d(6)
        ),
        (6,),
    ),
    "convolutions with a bias": (
        lambda: nn.Sequential(
            nn.Linear(3, 32),
            nn.Unflatten(1, (2, 4, 4)),
            nn.Conv2d(2, 4, 3, padding=1, groups=2),
            nn.BatchNorm2d(4, affine=False),
            nn.Tanh(),
            nn.ConvTranspose2d(4, 3, 4, 2, 1),
            nn.BatchNorm2d(3),
        ),
        (3, 8, 8),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("last", [False, True])
def test_folded_networks_are_the_same_function(name: str, last: bool) -> None:
    make, sides = NETWORKS[name]
    potential = bound_to(with_statistics(make()), sides)
    if last:
        potential.model.to(memory_format=torch.channels_last)  # type: ignore[attr-defined]
    z = torch.randn(4, 3, dtype=torch.double)
    potential(z)
    assert norms(potential) == 0
    for _ in range(2):
        z = torch.randn_like(z)
        torch.testing.assert_close(potential(z), potential.plain()(z), rtol=1e-11, atol=1e-9)


def test_no_map_is_multiplied_by_a_factor() -> None:
    potential = bound_to(
        with_statistics(deconvnet(3, (3, 16, 16), width=4, batch_norm=True)), (3, 16, 16)
    )
    potential(torch.randn(4, 3, dtype=torch.double))
    (graph,) = potential.evaluator.graphs
    maps = {(4, 8, 4, 4), (4, 4, 8, 8)}
    kinds = {
        str(node.target)
        for node in graph.module.graph.nodes
        if tuple(getattr(node.meta.get("val"), "shape", ())) in maps
    }
    assert any("convolution" in kind for kind in kinds)
    assert not any("mul" in kind or "batch_norm" in kind for kind in kinds)


@pytest.mark.parametrize("changed", ["weight", "bias", "running_mean", "running_var", "filters"])
def test_what_changes_in_place_is_seen(changed: str) -> None:
    network = with_statistics(deconvnet(3, (3, 16, 16), width=4, batch_norm=True))
    potential = bound_to(network, (3, 16, 16))
    z = torch.randn(4, 3, dtype=torch.double)
    before = potential(z)[0]
    norm, filters = network[2], network[4].weight
    with torch.no_grad():
        (filters if changed == "filters" else getattr(norm, changed)).mul_(1.5)
    after = potential(z)
    assert not torch.allclose(after[0], before)
    torch.testing.assert_close(after, potential.plain()(z), rtol=1e-11, atol=1e-9)


def test_normalisation_by_the_batch_is_not_folded() -> None:
    potential = bound_to(deconvnet(3, (3, 16, 16), width=4, batch_norm=True).train(), (3, 16, 16))
    z = torch.randn(4, 3, dtype=torch.double)
    potential(z)
    assert norms(potential) > 0
    assert torch.equal(potential(z)[1], potential.plain()(z)[1])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_gradients_in_weights_are_those_of_the_model(training: bool, affine: bool) -> None:
    network = with_statistics(deconvnet(3, (3, 16, 16), width=4, batch_norm=True)).train(training)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(affine)
    potential = bound_to(network, (3, 16, 16))
    z = torch.randn(4, 3, dtype=torch.double)
    parameters = [p for p in network.parameters() if p.requires_grad]
    _, gradients = potential.loss_and_gradients(z, parameters)
    assert (norms(potential) > 0) == training
    expected = torch.autograd.grad(potential.loss(z), parameters)
    torch.testing.assert_close(gradients, list(expected), rtol=1e-9, atol=1e-9)


class _Modulated(nn.Module):
    """Normalisation whose factors depend on the latent."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 6)
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("variance", torch.ones(6))

    def forward(self, z: Tensor) -> Tensor:
        y = self.linear(z)
        scale = y.square().mean(0) + 1.0
        normalised: Tensor = nn.functional.batch_norm(y, self.mean, self.variance, scale)
        return normalised


def test_factors_that_vary_are_not_folded() -> None:
    potential = bound_to(_Modulated(), (6,))
    z = torch.randn(4, 3, dtype=torch.double)
    potential(z)
    assert norms(potential) > 0
    torch.testing.assert_close(potential(z), potential.plain()(z))


class _Skipping(nn.Module):
    """A layer whose output is used before its normalisation too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 6), nn.BatchNorm1d(6)

    def forward(self, z: Tensor) -> Tensor:
        y = self.linear(z)
        return y + self.norm(y)


def test_what_is_used_without_its_normalisation_is_not_folded() -> None:
    potential = bound_to(with_statistics(_Skipping()), (6,))
    z = torch.randn(4, 3, dtype=torch.double)
    potential(z)
    assert norms(potential) > 0
    torch.testing.assert_close(potential(z), potential.plain()(z))


def test_small_maps_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "WORTH_FOLDING", 2**14)
    potential = bound_to(
        with_statistics(deconvnet(3, (3, 16, 16), width=4, batch_norm=True)), (3, 16, 16)
    )
    z = torch.randn(4, 3, dtype=torch.double)
    assert torch.equal(potential(z)[1], potential.plain()(z)[1])
