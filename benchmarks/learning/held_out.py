"""How well hidden cells are predicted, and how near what is generated comes to the data."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor

from explainaway.inference import HMC, SamplingWarning, sample_posterior
from explainaway.models import ColoredGaussian, Gaussian, GeneratorModel, Masked
from explainaway.models.observations import Observation

from .known import Trial

GENERATED = 4000
"""Examples that are generated for a Fréchet distance."""


class Budget(NamedTuple):
    """How the latents are sampled at the learned parameters, the same for every candidate.

    Attributes
    ----------
    warmup, draws, thinning : int
        Of HMC with 6 leapfrog steps, from where learning left the chains.
    """

    warmup: int = 100
    draws: int = 40
    thinning: int = 5


class Score(NamedTuple):
    """What a learned model is worth.

    Attributes
    ----------
    nats : float
        Mean over the hidden cells of ``-log p(cell | observed cells)``, nats.
    standard_error : float
        Of that, from the differences between examples.
    rmse : float
        Root mean square error of the hidden cells' posterior means.
    frechet : float
        :func:`relative_frechet` of what is generated.
    """

    nats: float
    standard_error: float
    rmse: float
    frechet: float


@dataclass(frozen=True)
class HeldOut:
    """A model with data whose hidden cells are known to the judge.

    Attributes
    ----------
    name : str
    make : callable
        From a seed, of the first parameters, and whether the normal prior is learned to the trial,
        whose one argument is the data with NaN where hidden.
    whole : Tensor, (n, ...)
        The data without holes.
    components : int
        In how many principal components of the data what is generated is compared.
    noise : bool
        Whether it is generated with noise. Where σ is set to keep a network from overfitting
        it is not that of the data, and means are compared.
    budget : Budget
    """

    name: str
    make: Callable[[int, bool], Trial]
    whole: Tensor
    components: int
    noise: bool
    budget: Budget = field(default_factory=Budget)

    def score(self, model: GeneratorModel, latents: Tensor, y: Tensor) -> Score:
        """Return what a learned model is worth.

        Parameters
        ----------
        model : GeneratorModel
        latents : Tensor, (n, ...)
            Where the chains stood when learning ended.
        y : Tensor, (n, ...)
            What it has learned from.
        """
        draws = draw(model, y, latents, self.budget)
        hidden = y.isnan()
        with torch.no_grad():
            expected = model.reconstruct(draws, observed=y)
            spread = cell_spread(model.observation, y)
        density = predictive_log_density(self.whole, expected, spread)
        by_example = torch.where(hidden, -density, 0.0).flatten(1).sum(1).double()
        cells = hidden.flatten(1).sum(1).double()
        nats = by_example.sum() / cells.sum()
        # Of a ratio of sums over examples, by its linearisation.
        error = (by_example - nats * cells).square().sum().sqrt() / cells.sum()
        residual = (expected.mean(0) - self.whole)[hidden]
        made = model.generate(GENERATED, seed=0, noise=self.noise)
        return Score(
            float(nats),
            float(error),
            float(residual.square().mean().sqrt()),
            relative_frechet(self.whole, made, self.components),
        )


def draw(model: GeneratorModel, y: Tensor, latents: Tensor, budget: Budget) -> Tensor:
    """Return posterior draws (draws, n, ...) of the latents at the parameters as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = sample_posterior(
            model,
            y,
            kernel=HMC(6),
            num_chains=1,
            warmup_steps=budget.warmup,
            num_samples=budget.draws,
            thinning=budget.thinning,
            seed=1,
            progress=False,
            init_strategy=init_to_value(values={"z": latents}),
        )
    return posterior.samples["z"][0]


def predictive_log_density(whole: Tensor, expected: Tensor, spread: Tensor) -> Tensor:
    """Return the log density of each cell under the mixture of normals that the draws make.

    Parameters
    ----------
    whole : Tensor, (n, ...)
    expected : Tensor, (draws, n, ...)
        Means of the cells given z and the observed cells.
    spread : Tensor
        Their standard deviations, broadcasting to (n, ...).

    Returns
    -------
    Tensor, (n, ...)
        Nats: ``log mean_s N(y; expected_s, spread²)``.
    """
    each = torch.distributions.Normal(expected, spread).log_prob(whole)
    return torch.logsumexp(each, 0) - torch.log(torch.tensor(float(len(expected))))


def cell_spread(observation: Observation, y: Tensor) -> Tensor:
    """Return the standard deviation of hidden cells given z and the observed cells, (n, ...).

    Raises
    ------
    TypeError
        If the observation is neither Gaussian nor coloured, masked.
    """
    noise = observation.base if isinstance(observation, Masked) else observation
    if isinstance(noise, Gaussian):
        return noise.scale.detach()
    if isinstance(noise, ColoredGaussian) and len(noise.shape) == 1:
        (length,) = noise.shape
        by_lag = torch.fft.ifft(noise.spectrum).real
        places = torch.arange(length)
        matrix = by_lag[(places[:, None] - places) % len(by_lag)]
        given = noise.covariance(~y.isnan())
        explained = [given.predict(column.expand_as(y))[..., j] for j, column in enumerate(matrix)]
        left = matrix.diagonal() - torch.stack(explained, -1)
        # Nothing is left of an observed cell.
        return torch.where(y.isnan(), left, 1.0).sqrt()
    raise TypeError(f"observation must be Gaussian or coloured noise of signals, got {noise!r}")


def relative_frechet(real: Tensor, made: Tensor, components: int) -> float:
    """Return how far made examples are from real ones, relative to the real ones' spread.

    With m and C the mean and the covariance of the coordinates in the first principal components
    of the real examples: ``(|m_r - m_g|² + tr(C_r + C_g - 2 (C_r^½ C_g C_r^½)^½)) / tr C_r``. It is
    0 for the same moments and 1 for a constant at the mean.

    Parameters
    ----------
    real, made : Tensor, (n, ...) and (m, ...)
    components : int
        Number of principal components.

    References
    ----------
    Dowson & Landau, "The Fréchet distance between multivariate normal distributions" (1982).
    """
    rows, others = real.flatten(1).double(), made.flatten(1).double()
    centre = rows.mean(0)
    basis = torch.linalg.svd(rows - centre, full_matrices=False).Vh[:components].mT
    a, b = (rows - centre) @ basis, (others - centre) @ basis
    of_real, of_made = (torch.cov(x.mT, correction=0) for x in (a, b))
    root = _root(of_real)
    overlap = _root(root @ of_made @ root).trace()
    distance = b.mean(0).square().sum() + of_real.trace() + of_made.trace() - 2 * overlap
    return float(distance / of_real.trace())


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    return root
