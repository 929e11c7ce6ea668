"""How often intervals of hidden cells hold them: of new rows, at parameters that were learned.

The data are linear and normal, so that the predictive distribution at any θ is exact and no sampler
takes part. The maximum of the likelihood is found by EM; some fits are made by the loop, to see
that it ends there too.
"""

import time
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, LearningWarning
from explainaway.models import FactorAnalysis, Gaussian, GeneratorModel, Masked, Normal, linear

from .known import Parameters
from .linear_problems import seeded
from .marginals import affine_of, given_observed, normal_log_density

LEVELS = (0.5, 0.8, 0.9, 0.95)
COLUMNS, LATENTS, NEW_ROWS = 20, 5, 500
RESAMPLED = 8
LAPLACE_DRAWS = 30
SMALLEST_NOISE = 0.03
"""Of a noise scale, where a column has none left in the sample: the truth has .3 to 1.2."""

Row = dict[str, Any]


class Rows(NamedTuple):
    """A data set of one seed.

    Attributes
    ----------
    train : Tensor, (n, D)
        NaN in a quarter of the cells.
    whole, new : Tensor, (m, D)
        New rows, complete and with NaN in 40 %.
    truth : dict of Tensor
    """

    train: Tensor
    whole: Tensor
    new: Tensor
    truth: Parameters


def drawn_rows(n: int, seed: int) -> Rows:
    """Return rows of a linear generator of 3 latents and 12 columns with noise of its own each."""
    generator = torch.Generator().manual_seed(seed)
    truth = {
        "weight": torch.randn(COLUMNS, LATENTS, generator=generator).double(),
        "bias": torch.randn(COLUMNS, generator=generator).double(),
        "log_scale": torch.linspace(0.3, 1.2, COLUMNS).log().double(),
    }

    def rows(count: int, hidden: float) -> tuple[Tensor, Tensor]:
        z = torch.randn(count, LATENTS, generator=generator).double()
        noise = torch.randn(count, COLUMNS, generator=generator).double()
        whole = z @ truth["weight"].mT + truth["bias"] + truth["log_scale"].exp() * noise
        mask = torch.rand(whole.shape, generator=generator) < hidden
        return whole, whole.masked_fill(mask, torch.nan)

    whole, new = rows(NEW_ROWS, 0.4)
    return Rows(rows(n, 0.25)[1], whole, new, truth)


def ranks(rows: Rows, several: Sequence[Parameters]) -> Tensor:
    """Return the ranks of hidden cells among what several θ together predict, in [0, 1].

    The predictive distribution is the mixture of theirs; a rank is its distribution function at the
    cell, uniform where it is right.
    """
    hidden = rows.new.isnan()
    below = []
    for theta in several:
        mean, spread = given_observed(rows.new, theta["bias"], covariance_of(theta))
        z = (rows.whole - mean)[hidden] / spread[hidden]
        below.append(torch.special.ndtr(z))
    return torch.stack(below).mean(0)


def covered(of: Tensor) -> list[float]:
    """Return which share of ranks lies within the central interval of each level."""
    return [float(((of - 0.5).abs() < level / 2).double().mean()) for level in LEVELS]


def covariance_of(theta: Parameters) -> Tensor:
    """Return the covariance (D, D) of rows under θ."""
    return theta["weight"] @ theta["weight"].mT + (2 * theta["log_scale"]).exp().diag()


def at_maximum(y: Tensor) -> Parameters:
    """Return θ of the largest likelihood, a noise scale kept from zero."""
    with warnings.catch_warnings():
        # In resamples of few rows a column's noise may go to zero, slowly.
        warnings.simplefilter("ignore")
        fitted = FactorAnalysis(LATENTS, tol=1e-5).fit(y.numpy())
    return {
        "weight": torch.from_numpy(fitted.components_.T.copy()),
        "bias": torch.from_numpy(fitted.mean_),
        "log_scale": torch.from_numpy(fitted.noise_variance_).sqrt().clamp(SMALLEST_NOISE).log(),
    }


def by_loop(y: Tensor, seed: int) -> Parameters:
    """Return θ of a fit with the default settings."""

    def build() -> GeneratorModel:
        noise = Gaussian(torch.ones(COLUMNS), learn_scale=True)
        return GeneratorModel(Normal(LATENTS, learn=True), linear(LATENTS, COLUMNS), Masked(noise))

    model: GeneratorModel = seeded(seed, build)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LearningWarning)
        AlternatingBackProp(model).fit(y.float(), seed=seed, progress=False)
    weight, bias = affine_of(model)
    assert isinstance(model.observation, Masked)
    assert isinstance(model.observation.base, Gaussian)
    scale = model.observation.base.scale.detach().double()
    return {"weight": weight, "bias": bias, "log_scale": scale.log()}


def resampled(y: Tensor, count: int, seed: int) -> list[Parameters]:
    """Return θ of fits to resamples of the rows with replacement."""
    generator = torch.Generator().manual_seed(1000 + seed)
    chosen = [torch.randint(len(y), (len(y),), generator=generator) for _ in range(count)]
    return [at_maximum(y[index]) for index in chosen]


def around_last_layer(y: Tensor, theta: Parameters, count: int, seed: int) -> list[Parameters]:
    """Return draws of the last layer, here all of the network, by Laplace's approximation.

    Its precision is the negative Hessian of the log-likelihood of the observed cells, latents
    integrated out, in weights and bias, plus that of a normal prior of both as wide as the
    weights are. A rotation of the latents changes nothing: those directions are left out.
    """
    names = ("weight", "bias")
    shapes = [theta[name].shape for name in names]
    at = torch.cat([theta[name].reshape(-1) for name in names])
    noise = (2 * theta["log_scale"]).exp().diag()

    def with_layer(flat: Tensor) -> Parameters:
        parts = flat.split([shape.numel() for shape in shapes])
        return {
            **theta,
            **{n: p.reshape(s) for n, p, s in zip(names, parts, shapes, strict=True)},
        }

    def energy(flat: Tensor) -> Tensor:
        layer = with_layer(flat)
        covariance = layer["weight"] @ layer["weight"].mT + noise
        return -normal_log_density(y, layer["bias"], covariance).sum()

    hessian = torch.autograd.functional.hessian(energy, at)
    free = _not_rotating(theta["weight"], len(at))
    values, directions = torch.linalg.eigh(free.mT @ hessian @ free)
    spread = (values.clamp(min=0) + 1 / theta["weight"].square().mean()).rsqrt()
    generator = torch.Generator().manual_seed(2000 + seed)
    moves = torch.randn(count, len(values), generator=generator).double() * spread
    return [with_layer(at + move) for move in moves @ (free @ directions).mT]


def _not_rotating(weight: Tensor, size: int) -> Tensor:
    """Return an orthonormal basis (size, k) of moves, weights first, that rotate no latents."""
    d = weight.shape[1]
    rotations = []
    for i, j in torch.combinations(torch.arange(d)).tolist():
        turned = torch.zeros_like(weight)
        turned[:, i], turned[:, j] = weight[:, j], -weight[:, i]
        rotations.append(torch.cat([turned.reshape(-1), turned.new_zeros(size - weight.numel())]))
    basis: Tensor = torch.linalg.qr(torch.stack(rotations, 1), mode="complete").Q
    return basis[:, len(rotations) :]


def widened(y: Tensor, theta: Parameters) -> Parameters:
    """Return θ with its noise variances divided by the share of degrees of freedom that is left.

    A column of m observed cells is a regression on d latents and a constant: its residuals have
    m - d - 1.
    """
    seen = (~y.isnan()).sum(0).double()
    return {**theta, "log_scale": theta["log_scale"] - 0.5 * (1 - (LATENTS + 1) / seen).log()}


def linear_rows(n: int, seeds: Sequence[int], looped: Sequence[int]) -> list[Row]:
    """Return the coverage of every way for data sets of n rows.

    Parameters
    ----------
    n : int
    seeds : sequence of int
        Of the data.
    looped : sequence of int
        Those of them of which a fit is made by the loop too.
    """
    found: list[Row] = []
    for seed in seeds:
        rows = drawn_rows(n, seed)
        y = rows.train
        found.append(row_of(n, "true θ", seed, ranks(rows, [rows.truth]), time.process_time()))
        began = time.process_time()
        maximum = at_maximum(y)
        found.append(row_of(n, "one fit", seed, ranks(rows, [maximum]), began))
        began = time.process_time()
        several = resampled(y, RESAMPLED, seed)
        found.append(row_of(n, "fits to resamples", seed, ranks(rows, several), began))
        began = time.process_time()
        several = around_last_layer(y, maximum, LAPLACE_DRAWS, seed)
        found.append(row_of(n, "Laplace", seed, ranks(rows, several), began))
        began = time.process_time()
        several = around_last_layer(y, widened(y, maximum), LAPLACE_DRAWS, seed)
        found.append(row_of(n, "Laplace, wider noise", seed, ranks(rows, several), began))
        if seed in looped:
            began = time.process_time()
            learned = by_loop(y, seed)
            found.append(row_of(n, "one fit by the loop", seed, ranks(rows, [learned]), began))
    return found


def row_of(n: int, way: str, seed: int, of: Tensor, began: float) -> Row:
    """Return the coverage by ranks, and the seconds since a processor time."""
    seconds = time.process_time() - began
    return {"n": n, "way": way, "seed": seed, "covered": covered(of), "seconds": seconds}
