"""Priors of latent sequences: their densities, draws and limits.

Statistical tests compare averages of independent draws with |z| < 6: a false failure has
probability 2e-9 for each average.
"""

import itertools
from collections.abc import Iterator
from typing import Literal

import pyro
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from explainaway.inference import HMC, MALA, bind
from explainaway.models import (
    VAR,
    Gaussian,
    GeneratorModel,
    Masked,
    OverTime,
    Recurrent,
    SequencePrior,
    mlp,
)
from explainaway.models.dynamics import stationary_covariance

TRANSITION = torch.tensor([[0.9, 0.6], [-0.2, 0.5]])
INNOVATION = torch.tensor([[1.0, 0.3], [0.3, 2.0]])


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def _z_score(draws: Tensor, expected: float | Tensor) -> float:
    """Return the largest |z| of averages over the first dimension."""
    error = draws.mean(0) - expected
    return float((error / (draws.std(0) / len(draws) ** 0.5)).abs().max())


def _covariance(transition: Tensor, innovation: Tensor, length: int) -> Tensor:
    """Return the covariance of a whole sequence, (T d, T d), block by block."""
    dim = len(transition)
    rows = torch.zeros(length * dim, length * dim, dtype=torch.double)
    block = stationary_covariance(transition, innovation)
    for lag in range(length):
        for t in range(length - lag):
            late, early = slice((t + lag) * dim, (t + lag + 1) * dim), slice(t * dim, (t + 1) * dim)
            rows[late, early] = block
            rows[early, late] = block.T
        block = transition.double() @ block
    return rows


@pytest.mark.usefixtures("double")
def test_the_first_state_has_the_stationary_variance() -> None:
    """Case 17 (pymc-devs/pymc#3892, #2284)."""
    white = VAR(1, 2, transition=0.0, innovation=1.0).distribution()
    assert float(white.log_prob(torch.zeros(2, 1))) == pytest.approx(-1.837877, abs=1e-6)
    slow = VAR(1, 1, transition=0.9, innovation=1.0)
    assert float(slow.covariance) == pytest.approx(5.263158, abs=1e-6)
    density = slow.distribution().log_prob(torch.tensor([[3.0]]))
    assert float(density) == pytest.approx(-2.604304, abs=1e-6)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("length", [1, 2, 7])
def test_var_density_is_that_of_one_big_normal(length: int) -> None:
    z = torch.randn(5, length, 2)
    got = VAR(2, length, TRANSITION, INNOVATION).distribution().log_prob(z)
    covariance = _covariance(TRANSITION, INNOVATION, length)
    expected = scipy.stats.multivariate_normal(cov=covariance.numpy()).logpdf(z.reshape(5, -1))
    torch.testing.assert_close(got, torch.tensor(expected))


def test_what_was_given_comes_back() -> None:
    prior = VAR(2, 4, TRANSITION, INNOVATION)
    torch.testing.assert_close(prior.transition, TRANSITION)
    torch.testing.assert_close(prior.innovation, INNOVATION)
    expected = stationary_covariance(TRANSITION, INNOVATION).float()
    torch.testing.assert_close(prior.covariance, expected)


def test_by_default_each_latent_is_standard_normal() -> None:
    prior = VAR(3, 4, transition=torch.randn(3, 3) / 4)
    torch.testing.assert_close(prior.covariance, torch.eye(3))
    assert prior.distribution().variance.allclose(torch.ones(4, 3))


@pytest.mark.parametrize(
    ("learn", "expected"),
    [(False, set()), ("transition", {"mixing"}), (True, {"mixing", "factor"})],
)
def test_what_is_learned_is_a_parameter(
    learn: bool | Literal["transition"], expected: set[str]
) -> None:
    prior = VAR(2, 4, TRANSITION, INNOVATION, learn=learn)
    assert {name for name, _ in prior.named_parameters()} == expected
    if learn == "transition":
        before = prior.covariance
        with torch.no_grad():
            prior.mixing.add_(torch.randn(2, 2))
        assert torch.equal(prior.covariance, before)
        assert not torch.allclose(prior.transition, TRANSITION, atol=0.1)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_no_parameters_leave_stability(size: float) -> None:
    prior = VAR(4, 3, learn=True)
    with torch.no_grad():
        prior.mixing.copy_(size * torch.randn(4, 4))
        prior.factor.copy_(torch.randn(4, 4))
        transition, innovation, covariance = prior.transition, prior.innovation, prior.covariance
    assert float(torch.linalg.eigvals(transition).abs().max()) < 1
    assert float(torch.linalg.eigvalsh(innovation)[0]) > 0
    torch.testing.assert_close(
        transition @ covariance @ transition.T + innovation, covariance, rtol=1e-6, atol=1e-9
    )


@pytest.mark.usefixtures("double")
def test_densities_have_the_gradients_they_claim() -> None:
    """In the latents and in everything that is learned; the capture needs second ones too."""
    for prior in (VAR(2, 3, TRANSITION, INNOVATION, learn=True), Recurrent(2, 3, hidden=3)):
        with torch.no_grad():
            for parameter in prior.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        wrapped = _Density(prior)
        names = [name for name, _ in wrapped.named_parameters()]

        def density(z: Tensor, *values: Tensor, wrapped=wrapped, names=names) -> Tensor:
            parameters = dict(zip(names, values, strict=True))
            made: Tensor = torch.func.functional_call(wrapped, parameters, (z,))
            return made

        inputs = [torch.randn(2, 3, 2), *(p.detach().clone() for p in wrapped.parameters())]
        assert torch.autograd.gradcheck(density, [value.requires_grad_() for value in inputs])
        assert torch.autograd.gradgradcheck(density, inputs)


class _Density(nn.Module):
    def __init__(self, prior: SequencePrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, z: Tensor) -> Tensor:
        return self.prior.distribution().log_prob(z)


@pytest.mark.usefixtures("double")
def test_var_draws_have_its_covariance() -> None:
    draws = VAR(2, 3, TRANSITION, INNOVATION).distribution().sample((20_000,)).flatten(1)
    assert _z_score(draws, 0.0) < 6
    products = draws[:, :, None] * draws[:, None, :]
    assert _z_score(products, _covariance(TRANSITION, INNOVATION, 3)) < 6


def _perturbed() -> Recurrent:
    """A recurrent prior that is far from independence."""
    prior = Recurrent(2, 4, hidden=5)
    with torch.no_grad():
        prior.head.weight.copy_(torch.randn(4, 5))
        prior.head.bias.copy_(torch.tensor([0.5, -0.5, -0.3, 0.2]))
    return prior


def _step_by_step(prior: Recurrent, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means and scales of each latent given those before, by the GRU's formulas."""
    gru = prior.recurrence
    memory = torch.zeros(len(z), gru.hidden_size)
    before = torch.zeros(len(z), z.shape[2])
    locs, scales = [], []
    for t in range(z.shape[1]):
        of_input = before @ gru.weight_ih_l0.T + gru.bias_ih_l0
        of_memory = memory @ gru.weight_hh_l0.T + gru.bias_hh_l0
        reset, update, new = (
            [a, b] for a, b in zip(of_input.chunk(3, 1), of_memory.chunk(3, 1), strict=True)
        )
        gate = torch.sigmoid(sum(update))
        candidate = torch.tanh(new[0] + torch.sigmoid(sum(reset)) * new[1])
        memory = (1 - gate) * candidate + gate * memory
        predicted = prior.head(memory)
        locs.append(predicted[:, :2])
        scales.append(predicted[:, 2:].exp())
        before = z[:, t]
    return torch.stack(locs, 1), torch.stack(scales, 1)


@pytest.mark.usefixtures("double")
def test_recurrent_density_is_the_product_of_its_steps() -> None:
    prior, z = _perturbed(), torch.randn(5, 4, 2)
    loc, scale = _step_by_step(prior, z)
    expected = scipy.stats.norm(loc.detach(), scale.detach()).logpdf(z).sum((1, 2))
    torch.testing.assert_close(prior.distribution().log_prob(z).detach(), torch.tensor(expected))


def test_recurrent_draws_are_those_of_its_density() -> None:
    """Each latent, standardised by what the latents before tell, is N(0, 1) and new."""
    prior = _perturbed()
    with torch.no_grad():
        draws = prior.distribution().sample((20_000,))
        loc, scale = _step_by_step(prior, draws)
    fresh = ((draws - loc) / scale).flatten(1)
    assert _z_score(fresh, 0.0) < 6
    assert _z_score(fresh[:, :, None] * fresh[:, None, :], torch.eye(8)) < 6
    assert float(loc.var(0)[1:].max()) > 0.05


def test_recurrent_starts_as_independent_standard_normals() -> None:
    z = torch.randn(3, 5, 2)
    expected = scipy.stats.norm().logpdf(z).sum((1, 2))
    got = Recurrent(2, 5).distribution().log_prob(z).detach()
    torch.testing.assert_close(got.double(), torch.tensor(expected, dtype=torch.double))


def test_continuing_goes_on_from_the_last_latents() -> None:
    """Mean and variance of what follows: A^k z_T and Σ A^i Q A^iᵀ; for the GRU step by step."""
    prior = VAR(2, 5, TRANSITION, INNOVATION)
    last = torch.tensor([2.0, -3.0])
    given = torch.randn(5, 2)
    given[-1] = last
    draws = prior.continued(given.expand(20_000, 5, 2), 3)
    mean, covariance = last, torch.zeros(2, 2)
    for step in range(3):
        mean = TRANSITION @ mean
        covariance = TRANSITION @ covariance @ TRANSITION.T + INNOVATION
        assert _z_score(draws[:, step], mean) < 6
        centred = draws[:, step] - mean
        assert _z_score(centred[:, :, None] * centred[:, None, :], covariance) < 6
    recurrent = _perturbed()
    with torch.no_grad():
        given = recurrent.distribution().sample((20_000,))
        followed = recurrent.continued(given, 2)
        loc, scale = _step_by_step(recurrent, torch.cat([given, followed], 1))
    fresh = ((followed - loc[:, 4:]) / scale[:, 4:]).flatten(1)
    assert _z_score(fresh, 0.0) < 6
    assert _z_score(fresh[:, :, None] * fresh[:, None, :], torch.eye(4)) < 6


@pytest.mark.parametrize("prior", [VAR(2, 3, 0.5), Recurrent(2, 3)], ids=["VAR", "Recurrent"])
def test_sequences_expand_under_validation(prior: SequencePrior) -> None:
    with pyro.validation_enabled(True):
        made = prior.distribution().expand([4])
        z = made.sample()
        assert z.shape == (4, 3, 2)
        assert made.sample((5,)).shape == (5, 4, 3, 2)
        torch.testing.assert_close(made.log_prob(z), prior.distribution().log_prob(z))
        with pytest.raises(ValueError, match="support"):
            made.log_prob(torch.full((4, 3, 2), torch.nan))


@pytest.mark.parametrize(
    "prior", [VAR(2, 3, learn=True), Recurrent(2, 3)], ids=["VAR", "Recurrent"]
)
def test_another_length_shares_the_parameters(prior: SequencePrior) -> None:
    longer = prior.of_length(8)
    assert longer.distribution().event_shape == (8, 2)
    assert prior.distribution().event_shape == (3, 2)
    pairs = itertools.zip_longest(prior.parameters(), longer.parameters())
    assert all(a is b for a, b in pairs)


@pytest.mark.parametrize("prior", [VAR(2, 4, 0.8), _perturbed()], ids=["VAR", "Recurrent"])
def test_nothing_observed_leaves_the_prior_of_sequences(prior: SequencePrior) -> None:
    model = GeneratorModel(prior, OverTime(mlp(2, (3,))), Masked(Gaussian(0.3)))
    y = torch.zeros(5, 4, 3)
    y[:4] = torch.nan
    z = torch.randn(4, 4, 2)
    whole = bind(model, y)
    energy, _ = whole.on(whole.data.select(torch.arange(4)))(z.flatten(1))
    torch.testing.assert_close(energy, -prior.distribution().log_prob(z).detach())


def test_a_hidden_frame_is_known_from_its_neighbours() -> None:
    """What stands in it does not matter, what stands beside it does."""
    model = GeneratorModel(VAR(2, 3, 0.9), OverTime(mlp(2, (3,))), Masked(Gaussian(0.3)))
    y, z = torch.rand(2, 3, 3), torch.randn(2, 6)
    seen = torch.ones_like(y, dtype=torch.bool)
    seen[0, 1] = False
    energy, gradient = bind(model, torch.where(seen, y, torch.nan))(z)
    absurd = bind(model, torch.where(seen, y, 1e6), mask=seen)(z)
    assert torch.equal(energy, absurd[0])
    assert torch.equal(gradient, absurd[1])
    moved = z.clone()
    moved[:, :2] += 1
    other = bind(model, torch.where(seen, y, torch.nan))(moved)[1]
    assert (other[0, 2:4] - gradient[0, 2:4]).abs().min() > 0.1


@pytest.mark.parametrize("kernel", [MALA(0.5), HMC(3, 0.4)], ids=["MALA", "HMC"])
@pytest.mark.parametrize(
    "prior",
    [VAR(2, 3, TRANSITION, INNOVATION / 4), Recurrent(2, 3, hidden=4)],
    ids=["VAR", "Recurrent"],
)
def test_kernels_leave_the_posterior_of_sequences_invariant(
    prior: SequencePrior, kernel: HMC | MALA
) -> None:
    """As in the laws: (z, y) from the joint, z moved given y; 18 paired averages."""
    if isinstance(prior, Recurrent):
        nn.init.normal_(prior.head.weight, std=0.7)
    model = GeneratorModel(
        prior, OverTime(mlp(2, (3,), hidden=(6,))), Masked(Gaussian(0.5, torch.tanh))
    )
    with torch.no_grad():
        z = prior.distribution().sample((4_000,))
        y = model.observation.distribution(model.network(z)).sample()
    y = torch.where(torch.rand(y.shape[:2])[:, :, None] < 0.7, y, torch.nan)
    potential = bind(model, y)
    state = kernel.init(z.flatten(1), potential)
    generator = torch.Generator().manual_seed(1)
    accepted = 0.0
    for _ in range(5):
        state, info = kernel.step(state, potential, generator)
        accepted += float(info.acceptance_rate.mean()) / 5

    def moments(position: Tensor) -> Tensor:
        shown = y.nan_to_num().flatten(1)
        lagged = position[:, :-2] * position[:, 2:]
        return torch.cat([position, position**2, lagged, position[:, :2] * shown[:, :2]], 1)

    assert 0.3 < accepted < 0.999
    assert _z_score((moments(state.position) - moments(z.flatten(1))).double(), 0.0) < 6


def test_white_noise_becomes_sequences_by_a_map_of_known_volume(double: None) -> None:
    made = VAR(2, 4, TRANSITION, INNOVATION).distribution()

    def flat(noise: Tensor) -> Tensor:
        return made.made_of(noise.reshape(4, 2)).flatten()

    jacobian = torch.autograd.functional.jacobian(flat, torch.zeros(8))
    assert isinstance(jacobian, Tensor)
    torch.testing.assert_close(made.log_volume(), jacobian.slogdet().logabsdet)
    torch.testing.assert_close(
        jacobian @ jacobian.T, _covariance(TRANSITION, INNOVATION, 4), atol=1e-10, rtol=0
    )


def test_a_closed_form_goes_where_the_likelihood_of_sequences_is_largest(double: None) -> None:
    """Its slope is zero there, but for the two states of the start among 20,000."""
    sequences = VAR(2, 10, TRANSITION, INNOVATION).distribution().sample((2000,))
    prior = VAR(2, 10, 0.1, learn="closed form")
    prior.expect_examples(2000)
    assert not list(prior.parameters())
    for _ in range(30):
        prior.closed_form_step(sequences)
    prior.factor.requires_grad_()
    prior.mixing.requires_grad_()
    made = prior.distribution()
    likelihood = made.log_prob(sequences).mean()
    slopes = torch.autograd.grad(likelihood, [prior.factor, prior.mixing])
    largest = max(float(slope.abs().max()) for slope in slopes)
    assert 0 < largest < 3e-3
    torch.testing.assert_close(
        made.mean_log_prob(*prior._moments.moments),  # type: ignore[union-attr]
        likelihood,
    )


def test_chains_of_a_closed_form_start_from_it(double: None) -> None:
    prior = VAR(2, 5, TRANSITION, INNOVATION, learn="closed form")
    noise = torch.randn(4000, 10)
    starts = prior.starts(noise).reshape(4000, 5, 2)
    expected = torch.stack([stationary_covariance(TRANSITION, INNOVATION)] * 5)
    found = torch.einsum("nti,ntj->nij", starts, starts) / 5
    assert _z_score(found, expected.mean(0)) < 6
    assert prior.log_volume() is not None
    assert VAR(2, 5).starts(noise) is noise
    assert VAR(2, 5, learn=True).log_volume() is None


def test_a_closed_form_goes_on_with_sequences_of_another_length(double: None) -> None:
    """By their own moments: those of the first length are of other sequences."""
    prior = VAR(2, 10, 0.1, learn="closed form")
    prior.closed_form_step(torch.randn(50, 10, 2))
    assert prior._moments is not None
    before = prior._moments.moments.clone()
    longer = prior.of_length(20)
    sequences = VAR(2, 20, TRANSITION, INNOVATION).distribution().sample((2000,))
    longer.expect_examples(2000)
    for _ in range(30):
        longer.closed_form_step(sequences)
    assert torch.equal(prior._moments.moments, before)
    longer.factor.requires_grad_()
    longer.mixing.requires_grad_()
    likelihood = longer.distribution().log_prob(sequences).mean()
    slopes = torch.autograd.grad(likelihood, [longer.factor, longer.mixing])
    assert 0 < max(float(slope.abs().max()) for slope in slopes) < 3e-3
    # Parameters are shared, as those that gradients move are.
    torch.testing.assert_close(prior.transition, longer.transition)
