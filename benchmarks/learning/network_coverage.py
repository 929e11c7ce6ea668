"""How often intervals of hidden cells hold them where the generator is a curved network."""

import copy
import math
import time
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from explainaway.inference import AlternatingBackProp, LearningWarning
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

from .coverage import Row, row_of
from .held_out import Budget, draw
from .linear_problems import seeded

ROWS, NEW_ROWS, COLUMNS, LATENTS, WIDTH = 100, 300, 12, 2, 16
NOISE = 0.3
LAPLACE_DRAWS = 5


class Effort(NamedTuple):
    """How long is learned and sampled.

    Attributes
    ----------
    fits : int
        Whose predictions are put together.
    epochs : int
    from_prior, onwards : Budget
        Of chains that start from nothing, and of those that go on at other weights.
    """

    fits: int = 5
    epochs: int = 100
    from_prior: Budget = Budget(100, 50, 2)
    onwards: Budget = Budget(50, 20, 2)


SMOKE = Effort(1, 2, Budget(5, 2, 1), Budget(2, 2, 1))


def network_rows(seeds: Sequence[int], effort: Effort) -> list[Row]:
    """Return the coverage of every way for the data of every seed."""
    found: list[Row] = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        true = _true_model(generator)
        y = _with_holes(true.generate(ROWS, seed=seed, noise=True), 0.25, generator)
        whole = true.generate(NEW_ROWS, seed=1000 + seed, noise=True)
        new = _with_holes(whole, 0.4, generator)
        budget = effort.from_prior
        began = time.process_time()
        of_truth, _ = _ranks(true, whole, new, budget)
        found.append(row_of(ROWS, "true θ", seed, of_truth, began))
        began = time.process_time()
        model, latents = _fitted(y, seed, effort)
        of_fit, standing = _ranks(model, whole, new, budget)
        found.append(row_of(ROWS, "one fit", seed, of_fit, began))
        several = effort.fits
        everyone = [torch.arange(ROWS)] * several
        resamples = [torch.randint(ROWS, (ROWS,), generator=generator) for _ in range(several)]
        for way, chosen in (("fits of other seeds", everyone), ("fits to resamples", resamples)):
            began = time.process_time()
            fits = [_fitted(y[index], 100 + k, effort)[0] for k, index in enumerate(chosen)]
            of = torch.stack([_ranks(one, whole, new, budget)[0] for one in fits]).mean(0)
            found.append(row_of(ROWS, way, seed, of, began))
        for way, widen in (("Laplace", False), ("Laplace, wider noise", True)):
            began = time.process_time()
            if widen:
                _widen(model, y)
            drawn = draw(model, y, latents, budget)
            moved = []
            for layer in _around_last_layer(model, y, drawn, seed):
                other = copy.deepcopy(model)
                _set_last_layer(other, *layer)
                moved.append(_ranks(other, whole, new, effort.onwards, standing)[0])
            found.append(row_of(ROWS, way, seed, torch.stack(moved).mean(0), began))
    return found


def _true_model(generator: torch.Generator) -> GeneratorModel:
    network = mlp(LATENTS, COLUMNS, hidden=(WIDTH,), activation=nn.Tanh)
    sizes = {"0.weight": 1.5, "0.bias": 1.0, "2.weight": WIDTH**-0.5 * 1.5, "2.bias": 1.0}
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(sizes[name] * torch.randn(value.shape, generator=generator))
    return GeneratorModel(Normal(LATENTS), network, Masked(Gaussian(NOISE)))


def _with_holes(whole: Tensor, hidden: float, generator: torch.Generator) -> Tensor:
    mask = torch.rand(whole.shape, generator=generator) < hidden
    return whole.masked_fill(mask, torch.nan)


def _fitted(y: Tensor, seed: int, effort: Effort) -> tuple[GeneratorModel, Tensor]:
    def build() -> GeneratorModel:
        network = mlp(LATENTS, COLUMNS, hidden=(WIDTH,), activation=nn.Tanh)
        noise = Gaussian(1.0, learn_scale=True)
        return GeneratorModel(Normal(LATENTS, learn=True), network, Masked(noise))

    model: GeneratorModel = seeded(seed, build)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LearningWarning)
        fit = AlternatingBackProp(model).fit(y, epochs=effort.epochs, seed=seed, progress=False)
    return model, fit.latents


def _scale(model: GeneratorModel) -> Tensor:
    assert isinstance(model.observation, Masked)
    assert isinstance(model.observation.base, Gaussian)
    return model.observation.base.scale.detach()


def _widen(model: GeneratorModel, y: Tensor) -> None:
    """Divide the noise variance by the share of degrees of freedom that the last layer leaves."""
    left = 1 - COLUMNS * (WIDTH + 1) / int((~y.isnan()).sum())
    assert isinstance(model.observation, Masked)
    assert isinstance(model.observation.base, Gaussian)
    with torch.no_grad():
        model.observation.base.log_scale.sub_(0.5 * math.log(left))


def _ranks(
    model: GeneratorModel,
    whole: Tensor,
    new: Tensor,
    budget: Budget,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the hidden cells' ranks in the mixture of normals of the draws; the last draw."""
    drawn = draw(model, new, torch.zeros(len(new), LATENTS) if start is None else start, budget)
    with torch.no_grad():
        z = (whole - model.decode(drawn)) / _scale(model)
    return torch.special.ndtr(z.double()).mean(0)[new.isnan()], drawn[-1]


def _around_last_layer(
    model: GeneratorModel, y: Tensor, drawn: Tensor, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """Return draws of the last layer's weight and bias by Laplace's approximation.

    The normal prior of both is as wide as the weights are.
    """
    _, last = _last_layer(model)
    at = torch.cat([last.weight, last.bias[:, None]], 1).detach().double()
    values, directions = torch.linalg.eigh(information_of_last_layer(model, y, drawn))
    spread = (values.clamp(min=0) + 1 / at[:, :-1].square().mean()).rsqrt()
    generator = torch.Generator().manual_seed(2000 + seed)
    noise = torch.randn(LAPLACE_DRAWS, len(values), generator=generator).double()
    moved = at + ((noise * spread) @ directions.mT).reshape(-1, *at.shape)
    return [(layer[:, :-1].float(), layer[:, -1].float()) for layer in moved]


def information_of_last_layer(model: GeneratorModel, y: Tensor, drawn: Tensor) -> Tensor:
    """Return the negative Hessian of the log-likelihood in the last layer's (weight, bias).

    It is the information of the complete data less that of the latents, which are missing (Louis,
    "Finding the observed information matrix when using the EM algorithm", 1982, eq. 3.2).

    Parameters
    ----------
    model : GeneratorModel
        Its network ends in a linear layer of H inputs, its noise is Gaussian.
    y : Tensor, (n, D)
        NaN where hidden.
    drawn : Tensor, (draws, n, d)
        Of the latents' posterior.

    Returns
    -------
    Tensor, (D (H + 1), D (H + 1))
        Of the rows of ``[weight, bias]``, one after the other.
    """
    features_of, _ = _last_layer(model)
    seen = (~y.isnan()).double()
    precision = 1 / _scale(model).double() ** 2
    with torch.no_grad():
        features = features_of(drawn.flatten(0, 1)).reshape(*drawn.shape[:2], -1).double()
        residual = (y.nan_to_num() - model.decode(drawn)) * seen
    features = torch.cat([features, torch.ones_like(features[..., :1])], -1)  # (draws, n, H + 1)
    products = torch.einsum("sni,snj->nij", features, features) / len(features)
    complete: Tensor = torch.block_diag(*torch.einsum("nk,nij->kij", seen, products) * precision)
    scores = (residual[..., None] * features[..., None, :]).flatten(2) * precision
    apart = (scores - scores.mean(0)).flatten(0, 1)
    return complete - apart.mT @ apart / (len(drawn) - 1)


def _last_layer(model: GeneratorModel) -> tuple[nn.Sequential, nn.Linear]:
    """Return what comes before the last layer, and that layer."""
    assert isinstance(model.network, nn.Sequential)
    last = model.network[-1]
    assert isinstance(last, nn.Linear)
    return nn.Sequential(*list(model.network)[:-1]), last


def _set_last_layer(model: GeneratorModel, weight: Tensor, bias: Tensor) -> None:
    _, last = _last_layer(model)
    with torch.no_grad():
        last.weight.copy_(weight)
        last.bias.copy_(bias)
