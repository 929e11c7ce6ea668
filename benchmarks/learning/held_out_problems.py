"""Networks and data with holes: no maximum is known, and overfitting shows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from explainaway.data import MissingDataError, digits, load_images
from explainaway.models import (
    VAR,
    ColoredGaussian,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    OverTime,
    deconvnet,
    linear,
    mlp,
)
from explainaway.models.observations import Observation

from .held_out import Budget, HeldOut
from .known import NotAvailableError, Trial
from .linear_problems import diabetes, seeded

FACES = "faces64.npz"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def diabetes_mlp() -> HeldOut:
    """Diabetes, 30 % hidden: a network of 64 units, 4 latents, scales by column."""
    return _diabetes("diabetes_mlp", lambda columns: mlp(4, columns, hidden=(64,)))


def diabetes_cells() -> HeldOut:
    """Diabetes, 30 % hidden: the linear model of ``diabetes_linear`` by what it predicts."""
    return _diabetes("diabetes_cells", lambda columns: linear(4, columns))


def _diabetes(name: str, network: Callable[[int], nn.Module]) -> HeldOut:
    y, whole = diabetes(0.3)
    return _trial(
        name,
        y,
        whole,
        4,
        lambda: network(whole.shape[1]),
        lambda: Gaussian(torch.ones(whole.shape[1]), learn_scale=True),
        components=whole.shape[1],
        noise=True,
    )


def digits_masked() -> HeldOut:
    """500 digits, 70 % of their pixels hidden, 16 latents, the noise set to .35."""
    return _digits("digits_masked", lambda: Gaussian(0.35, torch.tanh))


def digits_learned_scale() -> HeldOut:
    """500 digits, 70 % of their pixels hidden, 16 latents, the noise learned: it overfits."""
    return _digits("digits_learned_scale", lambda: Gaussian(0.5, torch.tanh, learn_scale=True))


def _digits(name: str, observation: Callable[[], Observation]) -> HeldOut:
    data = digits(0.7, seed=0, num_train=500)
    whole = torch.from_numpy(data.train)
    y = torch.where(torch.from_numpy(data.train_observed), whole, torch.nan)
    return _trial(
        name,
        y,
        whole,
        16,
        lambda: mlp(16, (8, 8), hidden=(128, 128), activation=nn.GELU),
        observation,
        components=20,
        noise=False,
    )


def faces_hole(folder: Path = SHARED) -> HeldOut:
    """500 faces of 32x32 pixels with a hole of 15x15, a deconvnet of width 8, 20 latents, σ .2.

    Parameters
    ----------
    folder : path
        Where ``faces64.npz`` lies.

    Raises
    ------
    NotAvailableError
        If the faces are not there.
    """
    whole = _faces(folder / FACES, 500)
    n, _, side, _ = whole.shape
    corner = torch.randint(side - 15 + 1, (n, 2), generator=torch.Generator().manual_seed(9))
    places = torch.arange(side)
    within = (places >= corner[..., None]) & (places < corner[..., None] + 15)  # (n, 2, side)
    hole = within[:, 0, :, None] & within[:, 1, None, :]
    y = torch.where(hole[:, None], torch.nan, whole)
    return _trial(
        "faces_hole",
        y,
        whole,
        20,
        lambda: deconvnet(20, (3, side, side), width=8, batch_norm=False),
        lambda: Gaussian(0.2, torch.tanh),
        components=20,
        noise=False,
        budget=Budget(warmup=30, draws=20, thinning=1),
    )


def _faces(path: Path, count: int) -> Tensor:
    try:
        return load_images(path, 32, count=count)
    except MissingDataError:
        raise NotAvailableError(
            f"{path}, an array images (n, 64, 64, 3) of bytes with at least {count} aligned faces "
            "(CelebA): put it there, or name its folder by --data"
        ) from None


def var_mlp() -> HeldOut:
    """150 sequences of 16 frames of 12 columns, a curved read-out of 2 latents that turn.

    30 % of the cells are hidden, and every frame from the 13th on in a third of the sequences.
    """
    generator = torch.Generator().manual_seed(10)
    n, length, columns = 150, 16, 12
    angle, damping = 0.5, 0.95
    turn = damping * torch.tensor(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32
    )
    z = torch.randn(n, 2, generator=generator)
    frames = []
    for _ in range(length):
        frames.append(z)
        z = z @ turn.T + (1 - damping**2) ** 0.5 * torch.randn(n, 2, generator=generator)
    latents = torch.stack(frames, 1)
    into = 1.5 * torch.randn(2, 16, generator=generator)
    offset = torch.randn(16, generator=generator)
    out = torch.randn(16, columns, generator=generator) / 3
    whole = (latents @ into + offset).tanh() @ out
    whole = whole + 0.15 * torch.randn(whole.shape, generator=generator)
    hidden = torch.rand(whole.shape, generator=generator) < 0.3
    hidden[: n // 3, 12:] = True
    y = torch.where(hidden, torch.nan, whole)

    def make(seed: int, learn_prior: bool) -> Trial:
        def build() -> GeneratorModel:
            return GeneratorModel(
                VAR(2, length, transition=0.5, learn="closed form" if learn_prior else True),
                OverTime(mlp(2, columns, hidden=(32,))),
                Masked(Gaussian(1.0, learn_scale=True)),
            )

        return Trial(seeded(seed, build), (y,))

    return HeldOut("var_mlp", make, whole, 10, True)


def coloured() -> HeldOut:
    """400 signals of 32 cells, a bump and a step under noise of correlation .7, 40 % hidden."""
    generator = torch.Generator().manual_seed(11)
    n, length = 400, 32
    z = torch.randn(n, 3, 1, generator=generator)
    place = torch.arange(length) / length
    bump = (1 + 0.5 * z[:, 0]) * torch.exp(-(((place - 0.5 - 0.12 * z[:, 1]) / 0.12) ** 2))
    signal = bump + 0.5 * (10 * (place - 0.5 - 0.15 * z[:, 2])).tanh()
    noise = torch.randn(n, length, generator=generator)
    for t in range(1, length):
        noise[:, t] = 0.7 * noise[:, t - 1] + (1 - 0.7**2) ** 0.5 * noise[:, t]
    whole = signal + 0.3 * noise
    hidden = torch.rand(whole.shape, generator=generator) < 0.4
    y = torch.where(hidden, torch.nan, whole)
    return _trial(
        "coloured",
        y,
        whole,
        3,
        lambda: mlp(3, length, hidden=(64,)),
        lambda: ColoredGaussian(length, 0.5, padding=8),
        components=10,
        noise=True,
    )


def _trial(
    name: str,
    y: Tensor,
    whole: Tensor,
    d: int,
    network: Callable[[], nn.Module],
    observation: Callable[[], Observation],
    components: int,
    noise: bool,
    budget: Budget | None = None,
) -> HeldOut:
    def make(seed: int, learn_prior: bool) -> Trial:
        def build() -> GeneratorModel:
            return GeneratorModel(Normal(d, learn=learn_prior), network(), Masked(observation()))

        return Trial(seeded(seed, build), (y,))

    return HeldOut(name, make, whole, components, noise, budget or Budget())
