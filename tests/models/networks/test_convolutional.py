"""Generators whose latent is a map: sizes, the paper's settings, another size at generation."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from explainaway.inference import AlternatingBackProp
from explainaway.models import (
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    sound_deconvnet,
    texture_deconvnet,
    video_deconvnet,
)


@pytest.mark.parametrize(
    ("make", "channels", "side", "upsampling"),
    [
        (texture_deconvnet, [1, 512, 256, 128, 64, 3], 5, 2),
        (sound_deconvnet, [1, 256, 128, 64, 1], 25, 10),
        (video_deconvnet, [1, 512, 256, 128, 3], 5, 2),
    ],
)
def test_the_defaults_are_the_papers(
    make: Callable[..., nn.Sequential], channels: list[int], side: int, upsampling: int
) -> None:
    """Video is not in the paper: it has the texture's filters."""
    width = 64 if channels[-2] == 64 else 128
    network = make(width=width)
    layers = [m for m in network if hasattr(m, "kernel_size")]
    assert [m.in_channels for m in layers] == channels[:-1]
    assert [m.out_channels for m in layers] == channels[1:]
    assert all(set(m.kernel_size) == {side} and set(m.stride) == {upsampling} for m in layers)
    assert network[-1] is layers[-1]
    assert network[-1].bias is not None
    # But for batch normalisation, which is there only if asked for.
    for batch_norm, expected in ((False, 0), (True, len(layers) - 1)):
        network = make(width=1, **({"batch_norm": True} if batch_norm else {}))
        assert sum("BatchNorm" in type(m).__name__ for m in network) == expected


@pytest.mark.parametrize(("filter_size", "upsampling"), [(5, 2), (4, 2), (3, 3), (25, 10), (6, 3)])
@pytest.mark.parametrize("length", [1, 4])
def test_every_layer_multiplies_the_size(filter_size: int, upsampling: int, length: int) -> None:
    network = sound_deconvnet(
        num_layers=2, width=2, filter_size=filter_size, upsampling=upsampling
    ).eval()
    assert network(torch.randn(3, 1, length)).shape == (3, 1, length * upsampling**2)


def test_video_grows_in_space_and_time() -> None:
    network = video_deconvnet(2, 3, num_layers=2, width=2)
    assert network(torch.randn(2, 2, 3, 4, 5)).shape == (2, 3, 12, 16, 20)


def test_the_papers_texture_and_sound_have_its_sizes() -> None:
    with torch.no_grad():
        assert texture_deconvnet(width=1)(torch.randn(1, 1, 7, 7)).shape == (1, 3, 224, 224)
        assert sound_deconvnet(width=1)(torch.randn(1, 1, 6)).shape == (1, 1, 60_000)


def test_a_texture_that_was_learned_is_generated_at_another_size() -> None:
    """The same network under a prior of larger maps; a learned texture keeps its statistics.

    Stripes of period 4 are learned from one incomplete 16x16 image; what is generated at 32x64
    correlates with itself at lag 4 along x, and not at lag 2.
    """
    torch.manual_seed(0)
    stripes = torch.cos(torch.arange(16) * torch.pi / 2).expand(1, 16, 16).clone()
    y = torch.where(torch.rand(4, 1, 16, 16) < 0.8, stripes[None], torch.nan)
    network = texture_deconvnet(channels=1, num_layers=2, width=8)
    model = GeneratorModel(Normal((1, 4, 4)), network, Masked(Gaussian(0.3)))
    abp = AlternatingBackProp(
        model,
        inference_steps=3,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )
    fit = abp.fit(y, epochs=60, seed=0, progress=False)
    assert fit.latents.shape == (4, 1, 4, 4)
    larger = GeneratorModel(Normal((1, 8, 16)), network, model.observation)
    image = larger.generate(8, seed=1)
    assert image.shape == (8, 1, 32, 64)
    centred = image - image.mean()
    variance = float(centred.square().mean())
    assert float((centred[..., 4:] * centred[..., :-4]).mean()) > 0.5 * variance
    assert float((centred[..., 2:] * centred[..., :-2]).mean()) < -0.5 * variance
