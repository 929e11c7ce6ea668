"""Posteriors that kernels are compared on, with the right answer where it is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explainaway.data import digits, load_images
from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    Langevin,
    ParallelTempering,
    RiemannianMALA,
)
from explainaway.models import Bernoulli, Gaussian, GeneratorModel, Masked, Normal, deconvnet, mlp

KERNELS: dict[str, tuple[Any, int]] = {
    "Langevin": (Langevin(), 1500),
    "MALA": (MALA(), 1500),
    "MALA, adapted mass": (MALA(mass="auto"), 1500),
    "HMC, 10 steps, unit mass": (HMC(10, mass="identity"), 300),
    "HMC, 10 steps, adapted mass": (HMC(10), 300),
    "HMC, by path length (default)": (HMC(), 300),
    "Riemannian MALA": (RiemannianMALA(), 200),
    "tempering, 6 replicas": (ParallelTempering(6, num_leapfrog=6), 300),
}
"""Each with its steps of warmup, where it then has 2,000 gradients or more."""


@dataclass(frozen=True)
class Case:
    """A posterior: its model, its data, what is measured and, where known, the right answer."""

    name: str
    model: GeneratorModel
    y: Tensor
    measure: Callable[[Tensor], Tensor]
    kernels: tuple[str, ...]
    mean: Tensor | None = None
    sd: Tensor | None = None
    share: float = 1.0


def _identity(z: Tensor) -> Tensor:
    return z


def linear_case(examples: int, seed: int) -> Case:
    """Return the linear-Gaussian posterior with its exact moments."""
    torch.manual_seed(seed)
    d, columns, scale = 10, 30, 0.1
    weight = torch.randn(columns, d) * torch.logspace(0, -1.5, d)
    network = nn.Linear(d, columns, bias=False)
    with torch.no_grad():
        network.weight.copy_(weight)
    model = GeneratorModel(Normal(d), network, Masked(Gaussian(scale)))
    z = torch.randn(examples, d)
    y = z @ weight.T + scale * torch.randn(examples, columns)
    y = torch.where(torch.rand(y.shape) < 0.5, y, torch.nan)
    mean, covariance = exact_posterior(weight, y, scale)
    sd = covariance.diagonal(dim1=1, dim2=2).sqrt()
    kernels = tuple(k for k in KERNELS if not k.startswith("tempering"))
    return Case("linear", model, y, _identity, kernels, mean, sd)


def exact_posterior(weight: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return means (n, d) and covariances (n, d, d) of z in ``y = W z + ε``, NaN not observed."""
    seen = (~y.isnan()).double()
    loadings = seen[:, :, None] * weight.double()
    precision = loadings.mT @ loadings / scale**2 + torch.eye(weight.shape[1]).double()
    covariance = torch.linalg.inv(precision)
    right = loadings.mT @ y.double().nan_to_num()[:, :, None] / scale**2
    return (covariance @ right)[:, :, 0].float(), covariance.float()


def digits_case(examples: int, seed: int, epochs: int) -> Case:
    """Return the posteriors of test digits with Bernoulli pixels under a learned network."""
    data = digits(0.7, seed, None)
    y, test = (
        torch.from_numpy(np.where(seen, images >= 0, np.nan).astype(np.float32))
        for images, seen in ((data.train, data.train_observed), (data.test, data.test_observed))
    )
    torch.manual_seed(seed)
    network = mlp(16, y.shape[1:], hidden=(128, 128), activation=nn.GELU)
    model = GeneratorModel(Normal(16), network, Masked(Bernoulli()))
    learn(model, y, epochs, 120, seed)
    return Case("digits", model, test[:examples], _identity, tuple(KERNELS))


def face_cases(folder: Path, examples: int, seed: int, epochs: int) -> list[Case]:
    """Return the posteriors of held-out faces under one learned network, at three noise levels."""
    path = folder / "faces64.npz"
    if not path.is_file():
        print(f"{path} is not there: the face posterior is left out")
        return []
    faces = load_images(path, 32, count=600 + examples)
    generator = torch.Generator().manual_seed(seed)
    seen = torch.rand(len(faces), 1, 32, 32, generator=generator) > 0.7
    y = torch.where(seen, faces, torch.nan)
    torch.manual_seed(seed)
    network = deconvnet(32, (3, 32, 32), width=16, batch_norm=True)
    observation = Masked(Gaussian(0.3, torch.tanh))
    model = GeneratorModel(Normal(32), network, observation)
    learn(model, y[:600], epochs, 50, seed)
    cases = []
    for scale in (0.3, 0.1, 0.03):
        noisy = GeneratorModel(Normal(32), network, Masked(Gaussian(scale, torch.tanh)))
        kernels = tuple(k for k in KERNELS if scale < 0.3 or not k.startswith("tempering"))
        name = f"face, σ = {scale}"
        cases.append(Case(name, noisy, y[600:], _identity, kernels, share=1 / 3))
    return cases


class Scales(nn.Module):
    """White latents on grids of side 4, 8, 16 and 32, enlarged, added up and blurred: linear."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = (4, 8, 16, 32)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (n, 32, 32)."""
        total = z.new_zeros(z.shape[0], 1, 32, 32)
        for part, side in zip(z.split([s * s for s in self.sides], 1), self.sides, strict=True):
            grid = part.reshape(-1, 1, side, side)
            total = total + nn.functional.interpolate(
                grid * (2.0 / math.sqrt(side)), size=32, mode="bilinear", align_corners=False
            )
        return nn.functional.avg_pool2d(total, 3, 1, 1)[:, 0]


def holes_case(examples: int, seed: int) -> Case:
    """Return the stiff posterior: latents at four scales, most pixels hidden."""
    torch.manual_seed(seed)
    network, scale, d = Scales(), 0.1, 1360
    weight = network(torch.eye(d)).flatten(1).T
    z = torch.randn(examples, d)
    y = network(z) + scale * torch.randn(examples, 32, 32)
    seen = torch.rand(y.shape) > 0.7
    model = GeneratorModel(Normal(d), network, Masked(Gaussian(scale)))
    y = torch.where(seen, y, torch.nan)
    mean, covariance = exact_posterior(weight, y.flatten(1), scale)
    hidden = [torch.nonzero(~one.flatten())[:50, 0] for one in seen]
    chosen = torch.stack(hidden)

    def hidden_pixels(z: Tensor) -> Tensor:
        images: Tensor = network(z.reshape(-1, d)).reshape(*z.shape[:-1], -1)
        return images.gather(-1, chosen.expand(*z.shape[:-1], 50))

    loadings = torch.stack([weight[index] for index in hidden])
    pixel_mean = (loadings @ mean[:, :, None])[:, :, 0]
    pixel_sd = (loadings @ covariance @ loadings.mT).diagonal(dim1=1, dim2=2).sqrt()
    kernels = tuple(k for k in KERNELS if "Riemannian" not in k and "tempering" not in k)
    return Case("holes", model, y, hidden_pixels, kernels, pixel_mean, pixel_sd)


def learn(model: GeneratorModel, y: Tensor, epochs: int, batch_size: int, seed: int) -> None:
    """Learn a network from incomplete data, two chains for each example."""
    AlternatingBackProp(
        model,
        HMC(5, mass="identity"),
        inference_steps=1,
        num_chains=2,
        batch_size=batch_size,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs),
    ).fit(y, epochs=epochs, seed=seed)
