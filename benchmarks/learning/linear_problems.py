"""Linear generators with normal noise: the marginal is normal, the maximum that of EM or closed."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor

from explainaway.models import (
    VAR,
    FactorAnalysis,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    OverTime,
    linear,
)

from .known import KnownMaximum, Parameters, Trial
from .marginals import affine_of, normal_log_density


def ppca() -> KnownMaximum:
    """1,000 rows of 30 columns, 5 latents, one learned scale; the maximum in closed form.

    Tipping & Bishop, "Probabilistic Principal Component Analysis" (1999), eq. 7 and 8.
    """
    y, truth = _linear_data(1000, 30, 5, torch.full((30,), 0.7), seed=1)
    truth["log_scale"] = truth["log_scale"][:1]
    return _linear("ppca", y, 5, torch.ones(()), True, lambda: principal(y, 5), truth)


def factor_analysis() -> KnownMaximum:
    """1,000 rows of 30 columns, 5 latents, a learned scale for each column."""
    scale = torch.linspace(0.3, 1.5, 30)
    y, truth = _linear_data(1000, 30, 5, scale, seed=2)
    return _linear("factor_analysis", y, 5, torch.ones(30), True, lambda: by_em(y, 5), truth)


def small_noise() -> KnownMaximum:
    """500 rows of 100 columns, 8 latents, the noise known to be .1; the maximum in closed form."""
    y, truth = _linear_data(500, 100, 8, torch.full((100,), 0.1), seed=3)
    del truth["log_scale"]
    scale = torch.tensor(0.1)
    return _linear("small_noise", y, 8, scale, False, lambda: principal(y, 8, 0.1), truth)


def diabetes_linear() -> KnownMaximum:
    """442 rows of the diabetes table, 30 % of their cells hidden, 4 latents, scales by column.

    The likelihood rises, by less than .001 nats in the end, while the noise of some columns goes to
    zero (a Heywood case): the maximum is the limit.
    """
    y, _ = diabetes(0.3)
    return _linear("diabetes_linear", y, 4, torch.ones(y.shape[1]), True, lambda: by_em(y, 4))


def diabetes(hidden: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the standardised table (442, 10) with NaN where hidden, and whole."""
    table = load_diabetes().data
    whole = torch.from_numpy((table - table.mean(0)) / table.std(0)).float()
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(whole.shape, generator=generator) < hidden
    return torch.where(mask, torch.nan, whole), whole


def var() -> KnownMaximum:
    """200 sequences of 20 frames of 6 columns, read out linearly from 2 latents that turn."""
    length, columns = 20, 6
    generator = torch.Generator().manual_seed(4)
    angle, damping = math.pi / 6, 0.9
    transition = damping * torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    loadings = torch.randn(columns, 2, generator=generator)
    truth = {
        "transition": transition.double(),
        "weight": loadings.double(),
        "bias": torch.linspace(-1.0, 1.0, columns).double(),
        "log_scale": torch.tensor([math.log(0.5)]).double(),
    }
    covariance = sequence_covariance(truth, length)
    noise = torch.randn(200, length * columns, generator=generator, dtype=torch.float64)
    y = truth["bias"].repeat(length) + noise @ torch.linalg.cholesky(covariance).mT
    y = y.float().reshape(200, length, columns)

    def make(seed: int, learn_prior: bool) -> Trial:
        return Trial(seeded(seed, lambda: _var_model(length, columns, learn_prior)), (y,))

    def log_likelihood(parameters: Parameters) -> Tensor:
        return normal_log_density(
            y.double().flatten(1),
            parameters["bias"].repeat(length),
            sequence_covariance(parameters, length),
        )

    return KnownMaximum("var", make, _of_var, log_likelihood, [lambda: truth], truth)


def _var_model(length: int, columns: int, in_closed_form: bool) -> GeneratorModel:
    network = OverTime(linear(2, columns))
    prior = VAR(2, length, transition=0.5, learn="closed form" if in_closed_form else True)
    return GeneratorModel(prior, network, Gaussian(1.0, learn_scale=True))


def _of_var(model: GeneratorModel) -> Parameters:
    prior, observation = model.prior, model.observation
    assert isinstance(prior, VAR)
    assert isinstance(observation, Gaussian)
    network = copy.deepcopy(model.network).double()
    with torch.no_grad():
        bias = network(torch.zeros(1, 1, prior.dim).double())[0, 0]
        weight = (network(torch.eye(prior.dim).double()[None])[0] - bias).mT
        factor = torch.linalg.cholesky(prior.covariance.double())
        transition = torch.linalg.solve(factor, prior.transition.double() @ factor)
        log_scale = observation.scale.double().log().reshape(1)
    return {
        "transition": transition,
        "weight": weight @ factor,
        "bias": bias,
        "log_scale": log_scale,
    }


def sequence_covariance(parameters: Parameters, length: int) -> Tensor:
    """Return the covariance (T D, T D) of a sequence of frames whose latents are N(0, I) each."""
    transition, weight = parameters["transition"], parameters["weight"]
    lagged, power = [], torch.eye(len(transition), dtype=transition.dtype)
    for _ in range(length):
        lagged.append(weight @ power @ weight.mT)
        power = transition @ power
    rows = [
        torch.cat([lagged[i - j] if i >= j else lagged[j - i].mT for j in range(length)], 1)
        for i in range(length)
    ]
    signal = torch.cat(rows)
    variance = (2 * parameters["log_scale"]).exp()
    return signal + variance * torch.eye(len(signal), dtype=signal.dtype)


def seeded(seed: int, make: Callable[[], Any]) -> Any:
    """Return what ``make`` returns under a seed, the global random state left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _linear_data(
    n: int, columns: int, d: int, scale: Tensor, seed: int
) -> tuple[Tensor, Parameters]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(columns, d, generator=generator)
    bias = torch.randn(columns, generator=generator)
    z = torch.randn(n, d, generator=generator)
    y = z @ weight.T + bias + scale * torch.randn(n, columns, generator=generator)
    truth = {"weight": weight, "bias": bias, "log_scale": scale.log()}
    return y, {name: value.double() for name, value in truth.items()}


def _linear(
    name: str,
    y: Tensor,
    d: int,
    scale: Tensor,
    learned: bool,
    oracle: Callable[[], Parameters],
    truth: Parameters | None = None,
) -> KnownMaximum:
    columns = y.shape[1]
    missing = bool(y.isnan().any())

    def build(learn_prior: bool) -> GeneratorModel:
        noise = Gaussian(scale, learn_scale=learned)
        observation = Masked(noise) if missing else noise
        return GeneratorModel(Normal(d, learn=learn_prior), linear(d, columns), observation)

    def make(seed: int, learn_prior: bool) -> Trial:
        return Trial(seeded(seed, lambda: build(learn_prior)), (y,))

    def parameters(model: GeneratorModel) -> Parameters:
        weight, bias = affine_of(model)
        found = {"weight": weight, "bias": bias}
        if learned:
            observation = model.observation
            noise = observation.base if isinstance(observation, Masked) else observation
            assert isinstance(noise, Gaussian)
            found["log_scale"] = noise.scale.detach().double().log().reshape(-1)
        return found

    fixed = scale.double().log()

    def log_likelihood(parameters: Parameters) -> Tensor:
        weight = parameters["weight"]
        variance = (2 * parameters.get("log_scale", fixed)).exp().expand(columns)
        covariance = weight @ weight.mT + variance.diag()
        return normal_log_density(y.double(), parameters["bias"], covariance)

    starts = [oracle] if truth is None else [oracle, lambda: truth]
    return KnownMaximum(name, make, parameters, log_likelihood, starts, truth)


def principal(y: Tensor, d: int, scale: float | None = None) -> Parameters:
    """Return the maximum of a complete table with one noise scale, found or given."""
    values, vectors = torch.linalg.eigh(torch.cov(y.double().mT, correction=0))
    variance = values[:-d].mean() if scale is None else torch.tensor(scale).double() ** 2
    found = {
        "weight": vectors[:, -d:] * (values[-d:] - variance).clamp(min=0).sqrt(),
        "bias": y.double().mean(0),
    }
    return found if scale is not None else {**found, "log_scale": 0.5 * variance.log().reshape(1)}


def by_em(y: Tensor, d: int) -> Parameters:
    """Return where factor analysis by EM, with cells missing or not, ends."""
    fitted = FactorAnalysis(d, tol=1e-6, max_iter=5000).fit(y.double().numpy())
    return {
        "weight": torch.from_numpy(np.ascontiguousarray(fitted.components_.T)),
        "bias": torch.from_numpy(fitted.mean_),
        "log_scale": 0.5 * torch.from_numpy(fitted.noise_variance_).log(),
    }
