"""A normal prior whose mean and covariance are learned: its density, its moments, its pull."""

import pytest
import scipy.stats
import torch

from explainaway.models import Gaussian, GeneratorModel, Normal, linear

MEAN = torch.tensor([1.0, -2.0])
FACTOR = torch.tensor([[2.0, 0.0], [0.7, 0.3]])


def _drawn(dim: int | tuple[int, ...]) -> Normal:
    prior = Normal(dim, learn=True)
    prior.mean.copy_(MEAN)
    prior.scale_tril.copy_(FACTOR)
    return prior


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
@pytest.mark.parametrize("cells", [(), (3, 2)])
def test_its_density_is_that_of_each_cells_channels(
    dtype: torch.dtype, cells: tuple[int, ...]
) -> None:
    prior = _drawn((2, *cells)).to(dtype)
    z = 3 * torch.randn(5, 2, *cells, dtype=dtype)
    oracle = scipy.stats.multivariate_normal(MEAN, (FACTOR @ FACTOR.T).double())
    by_cell = z.double().reshape(5, 2, -1).mT.numpy()
    expected = torch.as_tensor(oracle.logpdf(by_cell)).reshape(5, -1).sum(1)
    made = prior.distribution()
    assert made.event_shape == (2, *cells)
    torch.testing.assert_close(made.log_prob(z).double(), expected, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(made.expand([5]).log_prob(z), made.log_prob(z))
    # The white latents' density is that of N(0, I), which log_volume relates to it.
    volume = prior.log_volume()
    assert volume is not None
    white = torch.randn(5, 2, *cells, dtype=dtype)
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(white).flatten(1).sum(1)
    moved = prior.starts(white.flatten(1)).reshape(white.shape)
    torch.testing.assert_close(made.log_prob(moved) + volume, standard)


def test_draws_have_its_moments() -> None:
    """20,000 cells: six standard errors of a covariance entry are under .18."""
    z = _drawn((2, 2)).distribution().sample((10_000,))
    by_cell = z.movedim(1, -1).reshape(-1, 2)
    torch.testing.assert_close(by_cell.mean(0), MEAN, atol=0.09, rtol=0)
    torch.testing.assert_close(by_cell.T.cov(), FACTOR @ FACTOR.T, atol=0.18, rtol=0)
    made = _drawn((2, 2)).distribution()
    assert torch.equal(made.mean[:, 1], MEAN)
    torch.testing.assert_close(made.variance[:, 0], (FACTOR @ FACTOR.T).diagonal())


@pytest.mark.parametrize("dim", [2, (2, 3)])
def test_it_is_the_mode_of_what_it_has_seen_and_of_its_start(dim: int | tuple[int, int]) -> None:
    """One batch, whose weight is 1: the normal-inverse-Wishart mode by its textbook formula."""
    n = 7
    prior = Normal(dim, loc=0.5, scale=2.0, learn=True)
    prior.expect_examples(n)
    z = torch.randn(n, *prior.distribution().event_shape) + 3
    prior.closed_form_step(z)
    rows = (z if z.dim() == 2 else z.movedim(1, -1).reshape(-1, 2)).double()
    m, apart = len(rows), rows.mean(0) - 0.5
    centred = rows - rows.mean(0)
    scatter = centred.T @ centred + 2 * 4.0 * torch.eye(2) + m / (m + 1) * apart.outer(apart)
    torch.testing.assert_close(prior.mean.double(), 0.5 + m / (m + 1) * apart)
    covariance = (prior.scale_tril @ prior.scale_tril.T).double()
    torch.testing.assert_close(covariance, scatter / (m + 2))


def test_many_batches_arrive_at_the_moments_of_all() -> None:
    """An end that does not depend on the start, whose noise goes down as batches go by.

    2,000 batches of 50, the last of weight .01: the running means are over some 200 batches, so
    an entry's standard error is under .04 (of a variance of 4), and five of them .2.
    """
    prior = Normal(2, learn=True)
    prior.expect_examples(100_000)
    truth = torch.distributions.MultivariateNormal(MEAN, scale_tril=FACTOR)
    for _ in range(2_000):
        prior.closed_form_step(truth.sample((50,)))
    torch.testing.assert_close(prior.mean, MEAN, atol=0.1, rtol=0)
    torch.testing.assert_close(
        prior.scale_tril @ prior.scale_tril.T, FACTOR @ FACTOR.T, atol=0.2, rtol=0
    )


def test_few_examples_leave_a_regular_covariance_near_the_start() -> None:
    """Five examples in 20 components, again and again: unseen directions keep d / (n + d)."""
    prior = Normal(20, learn=True)
    prior.expect_examples(5)
    z = torch.randn(5, 20)
    for _ in range(300):
        prior.closed_form_step(z)
    eigenvalues = torch.linalg.eigvalsh((prior.scale_tril @ prior.scale_tril.T).double())
    # The centred examples span four directions, the mean's distance from the start a fifth.
    torch.testing.assert_close(eigenvalues[:15], torch.full((15,), 20 / 25).double())
    assert eigenvalues[15] > 20 / 25 + 0.01


def test_the_model_generates_and_evaluates_from_it_in_any_dtype_and_after_loading() -> None:
    model = GeneratorModel(_drawn(2), linear(2, 3), Gaussian(0.1)).double()
    other = GeneratorModel(Normal(2, learn=True), linear(2, 3), Gaussian(0.1)).double()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.generate(5, seed=0), other.generate(5, seed=0))
    z = torch.randn(4, 2).double()
    y = model.decode(z)
    expected = torch.distributions.MultivariateNormal(
        MEAN.double(), scale_tril=FACTOR.double()
    ).log_prob(z)
    noise = torch.distributions.Normal(y, 0.1).log_prob(y).sum(1)
    torch.testing.assert_close(other.log_joint(y, z), expected + noise, rtol=1e-6, atol=1e-6)


def test_what_is_asked_of_it_is_checked() -> None:
    with pytest.raises(ValueError, match="learn must be True or False, got 'closed form'"):
        Normal(3, learn="closed form")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"loc must be a number or have shape \(2, 1, 1\)"):
        Normal((2, 3, 3), loc=torch.zeros(2, 3, 3), learn=True)


@pytest.mark.parametrize("learn", [True, False])
def test_a_prior_on_a_larger_map_has_the_same_cells(learn: bool) -> None:
    torch.manual_seed(0)
    loc, scale = torch.tensor([1.0, -2.0])[:, None, None], torch.tensor([0.5, 2.0])[:, None, None]
    prior = Normal((2, 3, 3), loc, scale, learn=learn)
    if learn:
        factor = torch.tensor([[1.0, 0.0], [0.8, 0.3]])
        prior.expect_examples(200)
        cells = torch.randn(200, 9, 2) @ factor.T
        prior.closed_form_step(cells.mT.reshape(200, 2, 3, 3))
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    larger = prior.on_map(4, 6)
    assert larger.distribution().event_shape == (2, 4, 6)
    one = prior.distribution().log_prob(torch.ones(2, 3, 3))
    other = larger.distribution().log_prob(torch.ones(2, 4, 6))
    # Cells are independent and alike: so many densities of one.
    torch.testing.assert_close(other / 24, one / 9)
    if learn:
        larger.closed_form_step(torch.zeros(5, 2, 4, 6))
    for name, value in prior.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_prior_that_differs_between_cells_has_no_larger_map() -> None:
    with pytest.raises(ValueError, match="loc must be the same in all cells"):
        Normal((1, 2, 2), torch.arange(4.0).reshape(1, 2, 2)).on_map(4, 4)
    with pytest.raises(ValueError, match=r"a map of 2 dimensions.*got \(4,\)"):
        Normal((1, 2, 2)).on_map(4)
    with pytest.raises(ValueError, match=r"a map of 0 dimensions"):
        Normal(3).on_map(4)
    with pytest.raises(ValueError, match="sizes must be a positive integer, got 0"):
        Normal((1, 2)).on_map(0)
