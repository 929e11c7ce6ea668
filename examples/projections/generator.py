"""A generator that learns from projections, in units in which what it leaves is white."""

import math
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor, nn

from explainaway.inference import (
    MALA,
    AlternatingBackProp,
    Langevin,
    RelativeAdam,
    SamplingWarning,
    sample_posterior,
)
from explainaway.models import Gaussian, GeneratorModel, Normal, Sensed
from explainaway.models.operators import LinearOperator
from explainaway.projected_factors import (
    Factors,
    Projected,
    Whitened,
    completed,
    latent_moments,
    whitened,
)

from .basis import CosineBasis
from .linear import Prediction, residual_variance
from .problem import Problem


class Projection(LinearOperator):
    """One of several matrices at a time, the same for all faces of a batch.

    Parameters
    ----------
    num_cells, num_projections : int
        Sizes of the matrices.
    """

    matrix: Tensor

    def __init__(self, num_cells: int, num_projections: int) -> None:
        super().__init__((num_cells,), (num_projections,))
        self.register_buffer("matrix", torch.zeros(num_projections, num_cells))

    def choose(self, matrix: Tensor, signs: Tensor | None = None) -> None:
        """Take a matrix, with no more rows than this one, for the batches to come.

        With the signs of mirroring it sees faces as it saw their mirror images.
        """
        self.matrix[len(matrix) :] = 0
        self.matrix[: len(matrix)] = matrix if signs is None else matrix * signs

    def _measure(self, x: Tensor, context: object) -> Tensor:
        return x @ self.matrix.mT

    def _adjoint(self, y: Tensor, context: object) -> Tensor:
        return y @ self.matrix


class InWhite(nn.Module):
    """A network's images as coefficients, over the deviation of what it leaves of them."""

    deviation: Tensor

    def __init__(self, network: nn.Module, basis: CosineBasis, variance: Tensor) -> None:
        super().__init__()
        self.network, self.basis = network, basis
        self.register_buffer("deviation", variance.sqrt())

    def forward(self, z: Tensor) -> Tensor:
        """Return (n, cells)."""
        return self.basis.coefficients(self.network(z)) / self.deviation


@dataclass(frozen=True)
class Recipe:
    """How a generator learns and is sampled.

    Attributes
    ----------
    rate : float
        Of learning at the start, relative to the size of each tensor; it falls to zero.
    epochs, steps, batch_size : int
        Passes through faces and mirror images; kernel steps at each visit; most faces of one.
    warmup, draws : int
        Steps of each chain in reconstruction.
    as_paper : bool
        A deconvolution network from random weights with tanh, Langevin steps of 0.1 (0.05 in
        reconstruction, the last one is taken) from N(0, I), Adam, white noise of 0.3 in pixels;
        what is left of the projections stays so.
    """

    rate: float = 0.05
    epochs: int = 15
    steps: int = 5
    batch_size: int = 42
    warmup: int = 100
    draws: int = 200
    as_paper: bool = False


RECIPE = Recipe()
"""Our settings."""

PAPER = Recipe(epochs=600, steps=10, batch_size=100, warmup=299, draws=1, as_paper=True)
"""Those of Han et al. (2017)."""


class Generator:
    """A network whose posterior is sampled, what it leaves explained by the Wiener estimate.

    Parameters
    ----------
    problem : Problem
        What is learned from.
    network : nn.Module
        From latents to images.
    factors : Factors
        Where its chains begin; their variance is that of what the generator leaves.
    recipe : Recipe
        How it learns.
    seed : int
        Of the run.
    device : str
        Where it is.
    """

    def __init__(
        self,
        problem: Problem,
        network: nn.Module,
        factors: Factors,
        recipe: Recipe,
        seed: int,
        device: str,
    ) -> None:
        self.problem, self.factors, self.recipe = problem, factors, recipe
        self.seed = seed
        rank = factors.loadings.shape[1]
        cells, num_projections = len(factors.mean), problem.scored[0].data.y.shape[1]
        self.projection = Projection(cells, num_projections)
        emitted = InWhite(network, problem.basis, factors.variance)
        observation = Sensed(Gaussian(1.0), self.projection)
        self.model = GeneratorModel(Normal(rank), emitted, observation).to(device)

    def learn(self) -> dict[str, float]:
        """Learn from the training faces and their mirror images; return what there is to say."""
        recipe = self.recipe
        seen_as = (None,) if recipe.as_paper else (None, self.problem.basis.mirror)
        views = [
            (whitened(group.data, self.factors.variance), signs)
            for group in self.problem.train
            for signs in seen_as
        ]
        counts = [len(white.y) for white, _ in views]
        places = torch.arange(sum(counts)).split(counts)
        y = torch.cat([self._padded(white) for white, _ in views])
        learned = [each for each in self.model.parameters() if each.requires_grad]
        optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(learned, lr=1e-3)
            if recipe.as_paper
            else RelativeAdam(learned, lr=recipe.rate)
        )
        abp = AlternatingBackProp(
            self.model,
            Langevin(step_size=0.1) if recipe.as_paper else MALA(),
            inference_steps=recipe.steps,
            optimizer=optimizer,
            batch_size=recipe.batch_size,
        )
        self.projection.choose(views[0][0].matrix)
        abp.start(y, seed=self.seed)
        assert abp.chains is not None
        if not recipe.as_paper:
            linear = torch.cat([self._linear(*view) for view in views])
            abp.chains.put(torch.arange(len(y)), linear[:, None])
        order, began = np.random.default_rng(self.seed), time.process_time()
        for epoch in range(recipe.epochs):
            if not recipe.as_paper:
                optimizer.param_groups[0]["lr"] = recipe.rate * (1 - epoch / recipe.epochs)
            total = 0.0
            for number in order.permutation(len(views)):
                (white, signs), some = views[number], places[number]
                self.projection.choose(white.matrix, signs)
                for index in some.chunk(math.ceil(len(some) / recipe.batch_size)):
                    record = abp.step(y[index], index)
                    total += float(record.loss) * len(index)
            seconds = time.process_time() - began
            print(f"  {epoch}: loss {total / len(y):.1f} nats after {seconds:.0f} s", flush=True)
        return {
            "loss": total / len(y),
            "CPU seconds of learning": time.process_time() - began,
            "gradients of each training face": recipe.epochs * (recipe.steps + 2),
            "mean square of z": float(abp.chains.position.square().mean()),
        }

    def predict(self, data: Projected) -> Prediction:
        """Return the posterior moments of faces of a matrix, by chains from the linear estimate."""
        basis, spread = self.problem.basis, self.factors.variance
        white = whitened(data, spread)
        self.projection.choose(white.matrix)

        def coefficients(z: Tensor) -> Tensor:
            # z: (chains, n, d)
            signal = self.model.decode(z).cpu() * spread.sqrt()
            if self.recipe.as_paper:
                return signal
            return torch.stack([completed(white, each, spread) for each in signal])

        start = None if self.recipe.as_paper else {"z": self._linear(white)}
        with warnings.catch_warnings():
            # A mean of the signal needs fewer draws than an interval of a latent would.
            warnings.simplefilter("ignore", SamplingWarning)
            found = sample_posterior(
                self.model,
                self._padded(white),
                kernel=Langevin(step_size=0.05) if self.recipe.as_paper else MALA(mass="auto"),
                num_chains=1,
                warmup_steps=self.recipe.warmup,
                num_samples=self.recipe.draws,
                seed=self.seed,
                init_strategy=None if start is None else init_to_value(values=start),
                accumulate={
                    "coefficients": coefficients,
                    "image": lambda z: torch.stack(
                        [basis.images(each) for each in coefficients(z)]
                    ),
                },
                progress=False,
            ).accumulated
        left = residual_variance(white, spread, basis)
        return Prediction(found["coefficients"].mean, found["image"].variance + left)

    def draw(self, count: int, seed: int) -> Tensor:
        """Return new faces: the network's images of latents from the prior, with what they leave.

        The paper's have no such rest.
        """
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(count, self.factors.loadings.shape[1], generator=generator)
        device = self.projection.matrix.device
        with torch.no_grad():
            made = self.model.decode(latents.to(device)).cpu()
        if not self.recipe.as_paper:
            made = made + torch.randn(made.shape, generator=generator)
        return self.problem.basis.images(made * self.factors.variance.sqrt()).clamp(-1, 1)

    def _linear(self, white: Whitened, signs: Tensor | None = None) -> Tensor:
        """Return the latents' posterior mean under the factors."""
        deviation = self.factors.variance.sqrt() * (1 if signs is None else signs)
        mean, loadings = self.factors.mean / deviation, self.factors.loadings / deviation[:, None]
        return latent_moments(white, mean, loadings).latents

    def _padded(self, white: Whitened) -> Tensor:
        rows = len(self.projection.matrix)
        return nn.functional.pad(white.y, (0, rows - white.y.shape[1]))
