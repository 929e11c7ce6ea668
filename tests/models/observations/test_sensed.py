"""Measurements through a linear operator."""

import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor

from explainaway.inference import bind
from explainaway.models import (
    Bernoulli,
    Censored,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    Sensed,
    Truncated,
    mlp,
    operators,
)
from explainaway.models.operators import LinearOperator


def _model(observation: object, shape: tuple[int, ...]) -> GeneratorModel:
    return GeneratorModel(Normal(2), mlp(2, shape, hidden=(8,)), observation)  # type: ignore


@pytest.mark.parametrize("link", [None, torch.tanh])
def test_identity_changes_no_bit_of_a_gaussian(link: object) -> None:
    base = Gaussian(0.3, link)  # type: ignore[arg-type]
    sensed = Sensed(base, operators.Identity((4, 3)))
    output, y = torch.randn(5, 4, 3), torch.randn(5, 4, 3)
    mask = torch.rand(5, 4, 3) < 0.5
    for seen in (None, mask):
        got = sensed.distribution(output, mask=seen).log_prob(y)
        assert torch.equal(got, base.distribution(output, mask=seen).log_prob(y))
    assert torch.equal(sensed.signal(output), base.signal(output))
    assert torch.equal(sensed.reconstruct(output), base.reconstruct(output))
    assert sensed.output_shape((4, 3)) == (4, 3)


def test_identity_changes_a_bernoulli_by_rounding_only() -> None:
    sensed = Sensed(Bernoulli(), operators.Identity((6,)))
    output, y = 3 * torch.randn(50, 6), torch.randint(2, (50, 6)).float()
    got = sensed.distribution(output).log_prob(y)
    torch.testing.assert_close(got, Bernoulli().distribution(output).log_prob(y))
    torch.testing.assert_close(sensed.reconstruct(output), output.sigmoid())


def test_probabilities_are_averaged_before_they_are_drawn() -> None:
    sensed = Sensed(Bernoulli(), operators.Downsample((2, 2), 2))
    output = torch.tensor([[[-1.0, 0.0], [2.0, 3.0]]], dtype=torch.double)
    p = float(output.sigmoid().mean())
    got = sensed.distribution(output).log_prob(torch.ones(1, 1, 1))
    assert float(got) == pytest.approx(scipy.stats.bernoulli(p).logpmf(1))


def test_the_network_emits_the_signal_and_y_holds_the_measurements() -> None:
    operator = operators.Downsample((1, 6, 6), 3) @ operators.Blur((1, 6, 6), 1.0)
    sensed = Masked(Sensed(Gaussian(0.3, torch.tanh), operator))
    assert sensed.output_shape((1, 2, 2)) == (1, 6, 6)
    model = _model(sensed, (1, 6, 6))
    z = torch.randn(4, 2)
    signal = model.decode(z)
    assert signal.shape == (4, 1, 6, 6)
    torch.testing.assert_close(signal, model.network(z).tanh())
    torch.testing.assert_close(model.reconstruct(z), operator(signal))
    assert model.generate(3, seed=0, noise=True).shape == (3, 1, 2, 2)
    assert model.decode(torch.randn(2, 4, 2)).shape == (2, 4, 1, 6, 6)


def test_density_is_that_of_the_noise_around_the_measured_signal() -> None:
    operator = operators.RandomProjection((5,), 3)
    output, y = torch.randn(4, 5), torch.randn(4, 3)
    mean = (output @ operator.matrix.mT).numpy()
    expected = scipy.stats.norm(mean, 0.3).logpdf(y.numpy()).sum(1)
    got = Sensed(Gaussian(0.3), operator).distribution(output).log_prob(y)
    torch.testing.assert_close(got.double(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-4)


CALLABLES = {
    "laplace": lambda output: dist.Laplace(output, 0.5),
    "student t": lambda output: dist.StudentT(3.0, output, 0.5).to_event(1),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_a_callable_whose_mean_is_its_argument_is_noise_of_measurements(name: str) -> None:
    operator = operators.RandomProjection((5,), 3)
    sensed = Sensed(CALLABLES[name], operator)
    output, y = torch.randn(4, 5), torch.randn(4, 3)
    expected = CALLABLES[name](operator(output)).log_prob(y).reshape(4, -1).sum(1)
    torch.testing.assert_close(sensed.distribution(output).log_prob(y), expected)
    assert torch.equal(sensed.signal(output), output)


@pytest.mark.parametrize(
    "operator",
    [
        operators.RandomProjection((1, 4, 4), 5),
        operators.SubsampledFourier((1, 4, 4), kept=0.5),
        operators.Blur((1, 4, 4), 0.7),
        operators.Blur((1, 4, 4), 0.7, boundary="circular"),
        operators.Downsample((1, 4, 4), 2),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_density_gradients_are_those_of_finite_differences(operator: LinearOperator) -> None:
    observation = Masked(Sensed(Gaussian(0.5, torch.tanh), operator)).double()
    output = torch.randn(2, 1, 4, 4, dtype=torch.double, requires_grad=True)
    y = torch.randn(2, *operator.output_shape, dtype=torch.double)
    for mask in (None, torch.rand(y.shape) < 0.6):

        def log_prob(value: Tensor, mask: Tensor | None = mask) -> Tensor:
            return observation.distribution(value, mask=mask).log_prob(y)

        assert torch.autograd.gradcheck(log_prob, (output,))


OPERATORS = [
    operators.Identity((1, 4, 4)),
    operators.RandomProjection((1, 4, 4), 5),
    operators.SubsampledFourier((1, 4, 4), kept=0.5),
    operators.Blur((1, 4, 4), 0.7),
    operators.Blur((1, 4, 4), 0.7, boundary="circular"),
    operators.Downsample((1, 4, 4), 2),
    operators.Downsample((1, 4, 4), 2) @ operators.Blur((1, 4, 4), 0.7),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: type(operator).__name__)
def test_a_model_is_captured_with_its_operator(operator: LinearOperator) -> None:
    """A warning that it cannot be would be an error here."""
    model = _model(Masked(Sensed(Gaussian(0.5), operator)), (1, 4, 4))
    y = model.generate(6, seed=0, noise=True)
    y = torch.where(torch.rand(y.shape) < 0.7, y, torch.nan)
    potential = bind(model, y)
    z = torch.randn(6, 2)
    for _ in range(2):
        energy, gradient = potential(z)
    position = z.requires_grad_()
    joint = -model.log_joint(y, position)
    torch.testing.assert_close(energy, joint.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(joint.sum(), position)[0])


def test_an_operator_of_each_example_travels_in_the_context() -> None:
    model = _model(Masked(Sensed(Gaussian(0.5), operators.PerExample((4,), (3,)))), (4,))
    context = {"operator": torch.randn(5, 3, 4)}
    y = model.generate(5, seed=0, noise=True, context=context)
    z = torch.randn(5, 2)
    mean = torch.einsum("nmd,nd->nm", context["operator"], model.decode(z))
    torch.testing.assert_close(model.reconstruct(z, context=context), mean)
    energy, _ = bind(model, y, context=context)(z)
    expected = -dist.Normal(mean, 0.5).log_prob(y).sum(1) - dist.Normal(0, 1).log_prob(z).sum(1)
    torch.testing.assert_close(energy, expected.detach())
    # Examples in another order, with theirs.
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = {"operator": context["operator"][order]}
    torch.testing.assert_close(bind(model, y[order], context=shuffled)(z[order])[0], energy[order])


def test_nothing_measured_leaves_the_prior_and_hidden_measurements_do_not_matter() -> None:
    operator = operators.RandomProjection((5,), 3)
    model = _model(Masked(Sensed(Gaussian(0.3), operator)), (5,))
    y, z = torch.randn(4, 3), torch.randn(4, 2)
    mask = torch.tensor([[False] * 3, [True] * 3, [True, False, True], [False, True, False]])
    energy, gradient = bind(model, y, mask=mask)(z)
    torch.testing.assert_close(energy[0], -Normal(2).distribution().log_prob(z)[0])
    torch.testing.assert_close(gradient[0], z[0])
    absurd = bind(model, torch.where(mask, y, 1e6), mask=mask)(z)
    assert torch.equal(absurd[0], energy)
    assert torch.equal(absurd[1], gradient)


def test_hidden_measurements_are_reconstructed_and_seen_ones_kept() -> None:
    operator = operators.RandomProjection((5,), 3)
    model = _model(Masked(Sensed(Gaussian(0.3), operator)), (5,))
    y, z = torch.randn(4, 3), torch.randn(4, 2)
    y[1, 2] = torch.nan
    filled = model.reconstruct(z, observed=y)
    assert torch.equal(filled[~y.isnan()], y[~y.isnan()])
    torch.testing.assert_close(filled[1, 2], operator(model.decode(z))[1, 2])


def test_the_scale_is_learned_in_closed_form_from_measurements() -> None:
    operator = operators.RandomProjection((4,), 3)
    sensed = Sensed(Gaussian(1.0, learn_scale="closed form"), operator)
    output, y = torch.randn(50, 4), torch.randn(50, 3)
    assert sensed.has_closed_form
    mask = torch.rand(50, 3) < 0.5
    sensed.closed_form_step(output, y, mask)
    residual = (y - operator(output))[mask]
    assert isinstance(sensed.base, Gaussian)
    assert float(sensed.base.scale) == pytest.approx(float(residual.square().mean().sqrt()))


class _Neighbours(Gaussian):
    """A base whose distribution predicts hidden cells by itself."""

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: object = None
    ) -> dist.TorchDistribution:
        made = super().around(signal, mask=mask)
        made.complete = lambda y: torch.full_like(y, 7.0)
        return made


def test_a_base_that_predicts_hidden_cells_itself_is_asked() -> None:
    sensed = Sensed(_Neighbours(1.0), operators.Identity((2,)))
    y, mask = torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]])
    assert sensed.complete(torch.zeros(1, 2), y, mask).tolist() == [[1.0, 7.0]]


def test_wrappers_of_measurements_stand_around_sensed() -> None:
    operator = operators.RandomProjection((4,), 3)
    for observation in (
        Masked(Sensed(Gaussian(0.5), operator)),
        Masked(Censored(Sensed(Gaussian(0.5), operator), upper=0.5)),
        Masked(Truncated(Sensed(Gaussian(0.5), operator), -1.0, 1.0)),
    ):
        model = _model(observation, observation.output_shape((3,)))
        y = model.generate(5, seed=0, noise=True)
        y[0, 0] = torch.nan
        energy, gradient = bind(model, y)(torch.randn(5, 2))
        assert energy.isfinite().all()
        assert gradient.isfinite().all()
