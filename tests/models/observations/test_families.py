"""What holds for every family: gradients, samples, masks, information, shapes, float64."""

import math
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import bind
from explainaway.models import (
    Bernoulli,
    Categorical,
    Columns,
    DiscretizedLogistic,
    Gaussian,
    GeneratorModel,
    Masked,
    NegativeBinomial,
    Normal,
    Observation,
    Ordinal,
    Poisson,
    mlp,
)
from explainaway.models.observations import Laplace, StudentT

NUM = 100_000
WIDTH = 6  # standard errors: 2e-9 for each number compared


def _mixed() -> Columns:
    return Columns(
        {
            "dose": StudentT(5.0, 0.4),
            "visits": Poisson(),
            "colour": Categorical(3),
            ("pain", "mood"): Ordinal(4),
            "smoker": Bernoulli(),
            "age": Gaussian(0.5, torch.tanh),
        }
    )


FAMILIES: dict[str, tuple[Observation, tuple[int, ...]]] = {
    "Bernoulli": (Bernoulli(), (4,)),
    "Gaussian": (Gaussian(0.5, torch.tanh), (4,)),
    "Laplace": (Laplace(0.5), (4,)),
    "StudentT": (StudentT(5.0, 0.5, torch.tanh, learn_scale=True), (2, 2)),
    "Categorical": (Categorical(3), (2, 2)),
    "Ordinal": (Ordinal(4), (4,)),
    "DiscretizedLogistic": (DiscretizedLogistic(32, 2.0, learn_scale=True), (1, 2, 2)),
    "Poisson": (Poisson(), (4,)),
    "NegativeBinomial": (NegativeBinomial(0.5, learn_dispersion=True), (4,)),
    "Columns": (_mixed(), (7,)),
}
each_family = pytest.mark.parametrize(
    ("observation", "shape"), FAMILIES.values(), ids=FAMILIES.keys()
)


def _output(observation: Observation, shape: tuple[int, ...], n: int = 3) -> Tensor:
    return 0.7 * torch.randn(n, *observation.output_shape(shape))


def _model(observation: Observation, shape: tuple[int, ...]) -> GeneratorModel:
    return GeneratorModel(Normal(2), mlp(2, observation.output_shape(shape), (8,)), observation)


@each_family
@pytest.mark.parametrize("masked", [False, True])
def test_density_gradients_are_those_of_finite_differences(
    observation: Observation, shape: tuple[int, ...], masked: bool
) -> None:
    observation = observation.double()
    output = _output(observation, shape, 2).double().requires_grad_()
    y = observation.distribution(output).sample().detach()
    mask = torch.rand(y.shape) < 0.5 if masked else None
    parameters = [p for p in observation.parameters() if p.numel()]

    def log_prob(value: Tensor, *learned: Tensor) -> Tensor:
        return observation.distribution(value, mask=mask).log_prob(y)

    assert torch.autograd.gradcheck(log_prob, (output, *parameters))
    observation.float()


@each_family
def test_a_sample_lies_in_the_support_and_has_the_datas_shape(
    observation: Observation, shape: tuple[int, ...]
) -> None:
    made = observation.distribution(_output(observation, shape))
    assert (made.batch_shape, made.event_shape) == ((3,), shape)
    draw = made.sample()
    assert draw.shape == (3, *shape)
    assert draw.is_floating_point()
    support: Any = made.support
    assert bool(support.check(draw).all())
    assert made.sample((5,)).shape == (5, 3, *shape)
    with pyro.validation_enabled(True):
        assert bool(
            observation.distribution(_output(observation, shape)).log_prob(draw).isfinite().all()
        )


@each_family
def test_an_expanded_distribution_is_the_same_one(
    observation: Observation, shape: tuple[int, ...]
) -> None:
    mask = torch.rand(1, *shape) < 0.6
    made = observation.distribution(_output(observation, shape, 1), mask=mask)
    wide = made.expand([4, 3])
    assert (wide.batch_shape, wide.event_shape) == ((4, 3), shape)
    y = wide.sample()
    assert y.shape == (4, 3, *shape)
    torch.testing.assert_close(wide.log_prob(y), made.log_prob(y.flatten(0, 1)).reshape(4, 3))


@each_family
def test_samples_have_the_mean_that_is_reported(
    observation: Observation, shape: tuple[int, ...]
) -> None:
    """Within six standard errors of 100,000 draws; categories have no mean, grades a mode."""
    output = _output(observation, shape, 1)
    made = observation.distribution(output)
    mean = made.mean.detach()[0]
    draws = made.expand([NUM]).sample() if made.batch_shape != (1,) else made.sample((NUM,))[:, 0]
    error = draws.double().std(0) / NUM**0.5
    apart = (draws.double().mean(0) - mean).abs()
    assert bool(((apart < WIDTH * error + 1e-5 * mean.abs()) | mean.isnan()).all())
    if not bool(mean.isnan().any()) and not isinstance(observation, Ordinal):
        torch.testing.assert_close(observation.reconstruct(output)[0].detach(), mean)


LEVELS = {
    "Categorical": (Categorical(3), 3),
    "Ordinal": (Ordinal(4), 4),
    "DiscretizedLogistic": (DiscretizedLogistic(12, 1.3), 12),
    "Bernoulli": (Bernoulli(), 2),
    "Poisson": (Poisson(), 60),
    "NegativeBinomial": (NegativeBinomial(0.5), 400),
}


@pytest.mark.parametrize(("observation", "num_levels"), LEVELS.values(), ids=LEVELS.keys())
def test_masses_sum_to_1_and_samples_follow_them(observation: Observation, num_levels: int) -> None:
    """Frequencies of 100,000 draws within six standard errors of the masses."""
    output = _output(observation, (1,), 1)
    made = observation.distribution(output)
    levels = torch.arange(float(num_levels))
    masses = made.expand([num_levels]).log_prob(levels[:, None]).exp().double().detach()
    assert float(masses.sum()) == pytest.approx(1, abs=1e-5)
    draws = made.sample((NUM,)).long().flatten()
    counts = torch.bincount(draws, minlength=num_levels).double()
    error = (masses * (1 - masses) * NUM).sqrt()
    assert bool(((counts - NUM * masses).abs() < WIDTH * error + 2).all())


@each_family
def test_fisher_information_is_the_variance_of_the_score(
    observation: Observation, shape: tuple[int, ...]
) -> None:
    """By 100,000 draws, within six standard errors; masked cells have none.

    For :class:`DiscretizedLogistic` up to the share of inner levels, 1 / (16 s²).
    """
    n = NUM
    output = _output(observation, shape, 1).requires_grad_()
    mask = torch.ones(1, *shape, dtype=torch.bool)
    mask[(0,) * mask.dim()] = False
    made: Any = observation.distribution(output, mask=mask)
    quadratic = sum(
        0.5 * (information.detach() * (p - p.detach()) ** 2).sum()
        for p, information in made.fisher()
    )
    (gradient,) = torch.autograd.grad(quadratic, output, create_graph=True)
    flat = gradient.flatten()
    fisher = torch.stack(
        [torch.autograd.grad(part, output, retain_graph=True)[0].flatten() for part in flat]
    ).double()
    copies = output.detach().expand(n, *output.shape[1:]).clone().requires_grad_()
    whole = observation.distribution(copies, mask=mask.expand(n, *shape))
    (score,) = torch.autograd.grad(whole.log_prob(whole.sample()).sum(), copies)
    score = score.flatten(1).double()
    outer = score[:, :, None] * score[:, None, :]
    slack = 1 / 64 if isinstance(observation, DiscretizedLogistic) else 1e-6
    error = WIDTH * outer.std(0) / n**0.5 + slack * fisher.abs()
    assert bool(((outer.mean(0) - fisher).abs() <= error).all())
    assert float(fisher.abs().max()) > 0


def _joint(
    model: GeneratorModel, y: Tensor, z: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return log densities and their gradients in z."""
    leaf = z.clone().requires_grad_()
    density = model.log_joint(y, leaf, mask)
    return density.detach(), torch.autograd.grad(density.sum(), leaf)[0]


@each_family
def test_what_stands_in_a_hidden_cell_does_not_matter(
    observation: Observation, shape: tuple[int, ...]
) -> None:
    model = _model(Masked(observation), shape)
    y, z = model.generate(5, seed=0, noise=True), torch.randn(5, 2)
    mask = torch.rand(y.shape) < 0.5
    by_mask = _joint(model, y, z, mask)
    by_nan = _joint(model, torch.where(mask, y, math.nan), z)
    absurd = _joint(model, torch.where(mask, y, -1e6), z, mask)
    for a, b, c in zip(by_mask, by_nan, absurd, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@each_family
def test_an_example_of_which_nothing_is_observed_has_its_prior(
    observation: Observation, shape: tuple[int, ...]
) -> None:
    """Case 13: its row keeps its shape and is filled by the estimate given z."""
    model = _model(Masked(observation), shape)
    y, z = model.generate(5, seed=0, noise=True), torch.randn(5, 2)
    y[2] = math.nan
    density, gradient = _joint(model, y, z)
    torch.testing.assert_close(density[2], Normal(2).distribution().log_prob(z[2]))
    torch.testing.assert_close(gradient[2], -z[2])
    filled = model.reconstruct(z, observed=y)
    assert filled.shape == y.shape
    torch.testing.assert_close(filled[2], model.reconstruct(z)[2])
    seen = ~y.isnan()
    assert torch.equal(filled[seen], y[seen])


@each_family
def test_a_cell_that_no_example_has_is_warned_about_and_reconstructed(
    observation: Observation, shape: tuple[int, ...]
) -> None:
    """Case 13 (scikit-learn/scikit-learn#16977)."""
    model = _model(Masked(observation), shape)
    y, z = model.generate(5, seed=0, noise=True), torch.randn(5, 2)
    y[(slice(None), *[1 if size > 1 else 0 for size in shape])] = math.nan
    with pytest.warns(UserWarning, match=r"1 of \d+ cells are observed in no example"):
        model.validate_data(y)
    assert all(bool(part.isfinite().all()) for part in _joint(model, y, z))
    assert bool(model.reconstruct(z, observed=y).isfinite().all())


@pytest.mark.parametrize(("observation", "_"), FAMILIES.values(), ids=FAMILIES.keys())
def test_broadcasting_does_not_add_terms(observation: Observation, _: Any) -> None:
    """Case 18: y of shape (3,) against an output of one column, and the other way round."""
    if isinstance(observation, Columns):
        observation = Columns({"count": Poisson()})

    class Fixed(nn.Module):
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.shape = shape

        def forward(self, z: Tensor) -> Tensor:
            return (
                torch.arange(3.0)
                .reshape(3, *[1] * len(self.shape))
                .expand(3, *self.shape)[: len(z)]
            )

    model = GeneratorModel(Normal(1), Fixed(observation.output_shape((1,))), observation)
    with pytest.raises(ValueError, match=r"\((1|3),\)"):
        bind(model, torch.zeros(3))
    with pytest.raises(ValueError, match=r"\((1|3), 3\)"):
        bind(model, torch.zeros(3, 3))
    density = model.log_joint(torch.zeros(3, 1), torch.zeros(3, 1))
    apart = [
        observation.distribution(model.network(torch.zeros(3, 1))[i : i + 1]).log_prob(
            torch.zeros(1, 1)
        )
        for i in range(3)
    ]
    assert density.shape == (3,)
    prior = Normal(1).distribution().log_prob(torch.zeros(1))
    torch.testing.assert_close(density - prior, torch.cat(apart))


@each_family
def test_float64_and_float32_agree(observation: Observation, shape: tuple[int, ...]) -> None:
    output, y = (
        _output(observation, shape),
        observation.distribution(_output(observation, shape)).sample(),
    )
    single = observation.distribution(output).log_prob(y)
    observation.double()
    double = observation.distribution(output.double()).log_prob(y.double())
    observation.float()
    assert double.dtype == torch.double
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["Columns", "Laplace", "DiscretizedLogistic", "NegativeBinomial"])
def test_a_captured_energy_is_the_models_own(name: str) -> None:
    """A model that cannot be captured warns, which is an error here; the table holds the rest."""
    observation, shape = FAMILIES[name]
    model = _model(Masked(observation), shape)
    y, z = model.generate(6, seed=0, noise=True), torch.randn(6, 2)
    y[0].view(-1)[0] = math.nan
    potential = bind(model, y)
    potential(z + 1)
    energy, gradient = potential(z)
    density, expected = _joint(model, y, z)
    torch.testing.assert_close(energy, -density, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, -expected, rtol=1e-4, atol=1e-4)
