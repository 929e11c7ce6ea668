"""Models whose marginal is exact though they are not linear, most of them plain Pyro models."""

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from explainaway.models import GeneratorModel, Normal, Poisson, linear

from .known import KnownMaximum, NotAvailableError, Parameters, Trial
from .linear_problems import seeded
from .marginals import affine_of, integrated, normal_log_density

POSITIVE = dist.constraints.positive


def random_intercepts_model(y: Tensor, x: Tensor, seen: Tensor) -> None:
    """Regress within groups, each of which has an intercept of its own."""
    intercept = pyro.param("intercept", lambda: torch.zeros(()))
    slopes = pyro.param("slopes", lambda: torch.zeros(x.shape[-1]))
    spread = pyro.param("spread", lambda: torch.ones(()), POSITIVE)
    noise = pyro.param("noise", lambda: torch.ones(()), POSITIVE)
    with pyro.plate("groups", len(y)):
        own = pyro.sample("own", dist.Normal(intercept, spread))
        cells = dist.Normal(own[:, None] + x @ slopes, noise).mask(seen)
        pyro.sample("y", cells.to_event(1), obs=y)


def random_intercepts() -> KnownMaximum:
    """400 groups of 3 to 10 rows, two slopes; groups are examples, the marginal is normal."""
    generator = torch.Generator().manual_seed(5)
    n, most = 400, 10
    sizes = torch.randint(3, most + 1, (n,), generator=generator)
    seen = torch.arange(most) < sizes[:, None]
    x = torch.randn(n, most, 2, generator=generator)
    truth = {
        "intercept": torch.tensor(4.0),
        "slopes": torch.tensor([1.5, -0.5]),
        "log_spread": torch.tensor(2.0).log(),
        "log_noise": torch.tensor(0.6).log(),
    }
    own = truth["intercept"] + 2.0 * torch.randn(n, 1, generator=generator)
    y = own + x @ truth["slopes"] + 0.6 * torch.randn(n, most, generator=generator)
    y = torch.where(seen, y, 0.0)
    cells = torch.where(seen, y, torch.nan).double()

    def log_likelihood(parameters: Parameters) -> Tensor:
        shared = (2 * parameters["log_spread"]).exp().expand(most, most)
        covariance = shared + (2 * parameters["log_noise"]).exp() * torch.eye(most).double()
        mean = parameters["intercept"] + x.double() @ parameters["slopes"]
        return normal_log_density(cells, mean, covariance)

    return KnownMaximum(
        "random_intercepts",
        lambda seed, learn_prior: _plain(learn_prior, random_intercepts_model, y, x, seen),
        lambda model: _stored("intercept", "slopes", spread=True, noise=True),
        log_likelihood,
        [lambda: _double(truth)],
        _double(truth),
    )


def poisson_lognormal() -> KnownMaximum:
    """500 rows of 6 counts whose log rates share one normal latent."""
    generator = torch.Generator().manual_seed(6)
    truth = {
        "weight": torch.linspace(0.4, 1.0, 6)[:, None],
        "bias": torch.linspace(2.5, 0.5, 6),
    }
    z = torch.randn(500, 1, generator=generator)
    y = torch.poisson((z @ truth["weight"].T + truth["bias"]).exp(), generator=generator)
    counts = y.double()

    def make(seed: int, learn_prior: bool) -> Trial:
        return Trial(
            seeded(
                seed,
                lambda: GeneratorModel(Normal(1, learn=learn_prior), linear(1, 6), Poisson()),
            ),
            (y,),
        )

    def log_likelihood(parameters: Parameters) -> Tensor:
        def conditional(nodes: Tensor) -> Tensor:
            log_rate = nodes[:, None] * parameters["weight"][:, 0] + parameters["bias"]
            constant = torch.lgamma(counts + 1).sum(1, keepdim=True)
            return counts @ log_rate.mT - log_rate.exp().sum(1) - constant

        return integrated(conditional)

    return KnownMaximum(
        "poisson_lognormal",
        make,
        lambda model: affine_of(model)._asdict(),
        log_likelihood,
        [lambda: _double(truth)],
        _double(truth),
    )


def two_pl_model(answers: Tensor) -> None:
    """Answer items of different discrimination and easiness by one ability."""
    items = answers.shape[1]
    discrimination = pyro.param("discrimination", lambda: torch.ones(items), POSITIVE)
    easiness = pyro.param("easiness", lambda: torch.zeros(items))
    with pyro.plate("persons", len(answers)):
        ability = pyro.sample("ability", dist.Normal(0.0, 1.0))
        logits = ability[:, None] * discrimination + easiness
        pyro.sample("answers", dist.Bernoulli(logits=logits).to_event(1), obs=answers)


def two_pl() -> KnownMaximum:
    """800 persons, 20 items: the two-parameter logistic model of item responses.

    Birnbaum, in Lord & Novick, "Statistical Theories of Mental Test Scores" (1968).
    """
    generator = torch.Generator().manual_seed(7)
    items = 20
    truth = {
        "log_discrimination": (0.6 + 1.6 * torch.rand(items, generator=generator)).log(),
        "easiness": 1.2 * torch.randn(items, generator=generator),
    }
    ability = torch.randn(800, 1, generator=generator)
    logits = ability * truth["log_discrimination"].exp() + truth["easiness"]
    y = torch.bernoulli(logits.sigmoid(), generator=generator)
    answers = y.double()

    def log_likelihood(parameters: Parameters) -> Tensor:
        def conditional(nodes: Tensor) -> Tensor:
            discrimination = parameters["log_discrimination"].exp()
            logits = nodes[:, None] * discrimination + parameters["easiness"]
            right = torch.nn.functional.logsigmoid(logits)
            wrong = torch.nn.functional.logsigmoid(-logits)
            return answers @ right.mT + (1 - answers) @ wrong.mT

        return integrated(conditional)

    return KnownMaximum(
        "two_pl",
        lambda seed, learn_prior: _plain(learn_prior, two_pl_model, y),
        lambda model: _stored("easiness", discrimination=True),
        log_likelihood,
        [lambda: _double(truth)],
        _double(truth),
    )


def beta_binomial_model(successes: Tensor, trials: Tensor) -> None:
    """Draw successes among trials with a rate of each group's own."""
    a = pyro.param("a", lambda: torch.ones(()), POSITIVE)
    b = pyro.param("b", lambda: torch.ones(()), POSITIVE)
    with pyro.plate("groups", len(successes)):
        rate = pyro.sample("rate", dist.Beta(a, b))
        pyro.sample("successes", dist.Binomial(trials, rate), obs=successes)


def beta_binomial() -> KnownMaximum:
    """1,000 groups of 10 to 40 trials, rates from a beta distribution; the marginal is closed."""
    generator = torch.Generator().manual_seed(8)
    trials = torch.randint(10, 41, (1000,), generator=generator).float()
    a, b = 4.0, 12.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        successes = dist.Binomial(trials, dist.Beta(a, b).sample((1000,))).sample()
    truth = {"log_a": torch.tensor(math.log(a)), "log_b": torch.tensor(math.log(b))}

    def log_likelihood(parameters: Parameters) -> Tensor:
        k, n = successes.double(), trials.double()
        a, b = parameters["log_a"].exp(), parameters["log_b"].exp()
        ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
        return ways + _log_beta(k + a, n - k + b) - _log_beta(a, b)

    return KnownMaximum(
        "beta_binomial",
        lambda seed, learn_prior: _plain(learn_prior, beta_binomial_model, successes, trials),
        lambda model: _stored(a=True, b=True),
        log_likelihood,
        [lambda: _double(truth)],
        _double(truth),
    )


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def _plain(learn_prior: bool, model: Callable[..., None], *data: Tensor) -> Trial:
    """Return a plain Pyro model that learns from its first parameters, whatever was learned."""
    if learn_prior:
        raise NotAvailableError("prior object in a plain Pyro model")
    pyro.clear_param_store()
    return Trial(model, data)


def _stored(*free: str, **positive: bool) -> Parameters:
    """Return parameters of Pyro's store by name, the logarithms of positive ones."""
    found = {name: pyro.param(name).detach().double() for name in free}
    return found | {f"log_{name}": pyro.param(name).detach().double().log() for name in positive}


def _double(parameters: Parameters) -> Parameters:
    return {name: value.double() for name, value in parameters.items()}
