"""Categories, grades and bytes."""

import itertools
import math

import mpmath
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from explainaway.models import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    Ordinal,
    bits_per_dimension,
)


def _all_levels(observation: object, output: Tensor, num_levels: int) -> Tensor:
    """Return the log probability of each level for outputs (n, 1), (n, levels)."""
    densities = [
        observation.distribution(output).log_prob(torch.full((len(output), 1), k).to(output.dtype))  # type: ignore[attr-defined]
        for k in range(num_levels)
    ]
    return torch.stack(densities, 1)


def test_categorical_density_is_the_softmax() -> None:
    output = 3 * torch.randn(4, 5, 3).double()
    y = torch.randint(3, (4, 5)).double()
    got = Categorical(3).distribution(output).log_prob(y)
    table = torch.tensor(scipy.special.log_softmax(output.numpy(), -1))
    expected = table.gather(-1, y.long()[..., None])[..., 0].sum(1)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(Categorical(3).signal(output), table.exp())


def test_categorical_reconstructs_the_most_probable() -> None:
    output = torch.tensor([[[0.0, 2.0, 1.0], [5.0, -1.0, 1.0]]])
    assert torch.equal(Categorical(3).reconstruct(output), torch.tensor([[1.0, 0.0]]))


def test_two_categories_are_a_bernoulli_of_the_difference() -> None:
    output, y = torch.randn(4, 3, 2), torch.randint(2, (4, 3)).float()
    torch.testing.assert_close(
        Categorical(2).distribution(output).log_prob(y),
        Bernoulli().distribution(output[..., 1] - output[..., 0]).log_prob(y),
    )


def test_ordinal_density_is_a_difference_of_logistic_cdfs() -> None:
    cut_points = [-1.5, 0.3, 0.4, 2.0]
    output = 2 * torch.randn(6, 1).double()
    got = _all_levels(Ordinal(5, cut_points).double(), output, 5)
    edges = [-math.inf, *cut_points, math.inf]
    cdf = scipy.stats.logistic.cdf([[edge - float(score) for edge in edges] for score in output])
    expected = torch.tensor(cdf).diff(dim=1)
    torch.testing.assert_close(got.exp(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("score", [-60.0, 0.0, 45.0])
def test_ordinal_tails_are_exact_in_float32(score: float) -> None:
    """Against 50 digits; a difference of float32 cdfs is 0 there, its logarithm -inf."""
    cut_points = [-1.0, 0.0, 1.5]
    got = _all_levels(Ordinal(4, cut_points), torch.tensor([[score]]), 4)[0]
    expected = _interval_log_probabilities(cut_points, score, 1.0)
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_two_grades_are_a_bernoulli_exactly() -> None:
    output = torch.cat([torch.randn(50, 3), 40 * torch.randn(50, 3)])
    y = torch.randint(2, (100, 3)).float()
    ordinal = Ordinal(2)
    assert not list(ordinal.parameters())
    torch.testing.assert_close(
        ordinal.distribution(output).log_prob(y),
        Bernoulli().distribution(output).log_prob(y),
        rtol=1e-6,
        atol=1e-6,
    )
    assert torch.equal(ordinal.reconstruct(output), (Bernoulli().reconstruct(output) > 0.5).float())


def test_grades_are_equally_probable_at_score_0() -> None:
    got = _all_levels(Ordinal(5), torch.zeros(1, 1), 5)
    torch.testing.assert_close(got.exp(), torch.full((1, 5), 0.2))


def test_cut_points_start_where_they_are_put_and_stay_in_order() -> None:
    start = torch.tensor([-3.0, -1.0, 0.5, 0.6])
    ordinal = Ordinal(5, start)
    torch.testing.assert_close(ordinal.cut_points.detach(), start)
    with torch.no_grad():
        ordinal.log_gaps.add_(20 * torch.randn(3))
    assert bool((ordinal.cut_points.diff() >= 0).all())
    assert float(ordinal.cut_points[0].detach()) == -3.0


def test_cut_points_may_differ_between_columns() -> None:
    start = torch.tensor([[-1.0, 1.0], [0.0, 5.0]])
    output, y = torch.randn(4, 2), torch.randint(3, (4, 2)).float()
    both = Ordinal(3, start).distribution(output).log_prob(y)
    apart = [
        Ordinal(3, start[i]).distribution(output[:, i : i + 1]).log_prob(y[:, i : i + 1])
        for i in range(2)
    ]
    torch.testing.assert_close(both, apart[0] + apart[1])


def test_learned_cut_points_reach_the_frequencies_logits() -> None:
    """With one score for all, grades' maximum likelihood is their frequencies: no random error."""
    counts = torch.tensor([10, 40, 25, 25])
    y = torch.repeat_interleave(torch.arange(4), counts)[:, None].double()
    ordinal = Ordinal(4).double()
    score = torch.zeros((), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [*ordinal.parameters(), score], max_iter=200, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -ordinal.distribution(score.expand(100, 1)).log_prob(y).mean()
        value.backward()
        return value

    optimizer.step(loss)
    expected = torch.tensor(scipy.special.logit([0.1, 0.5, 0.75]))
    torch.testing.assert_close((ordinal.cut_points - score).detach(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0, 300.0])
@pytest.mark.parametrize("output", [-30.0, -1.0, -0.31, 0.5, 1.0, 4.0])
def test_levels_are_normalised_and_right_everywhere(scale: float, output: float) -> None:
    """Against 50 digits, all 256 levels, in float32: relative error 1e-4 of the log mass."""
    observation = DiscretizedLogistic(scale=scale)
    got = _all_levels(observation, torch.tensor([[output]]), 256)[0]
    assert float(got.double().exp().sum()) == pytest.approx(1, abs=1e-4)
    edges = [k + 0.5 for k in range(255)]
    some = [0, 1, 40, 127, 254, 255]
    loc = float(observation.signal(torch.tensor(output)))
    expected = torch.tensor(_interval_log_probabilities(edges, loc, scale))[some]
    torch.testing.assert_close(got[some], expected, rtol=1e-4, atol=1e-4)


def test_levels_have_finite_gradients_in_the_far_tails() -> None:
    observation = DiscretizedLogistic(scale=0.05, learn_scale=True)
    output = torch.tensor([[-40.0, 40.0, 0.0, -1.0, 1.0]], requires_grad=True)
    for level in (0.0, 7.0, 255.0):
        observation.distribution(output).log_prob(torch.full((1, 5), level)).sum().backward()
    assert output.grad is not None
    assert bool(output.grad.isfinite().all())
    assert observation.log_scale.grad is not None
    assert bool(observation.log_scale.grad.isfinite())


def test_the_mean_of_levels_is_their_sum() -> None:
    observation = DiscretizedLogistic(levels=40, scale=3.0)
    output = torch.tensor([[-1.2], [-1.0], [0.1], [1.0], [3.0]])
    masses = _all_levels(observation, output, 40).exp()
    torch.testing.assert_close(
        observation.reconstruct(output)[:, 0], masses @ torch.arange(40.0), rtol=1e-4, atol=1e-3
    )


def test_a_signal_beyond_the_ends_makes_a_saturated_pixel_certain() -> None:
    observation = DiscretizedLogistic(scale=8.0)
    white = observation.distribution(torch.full((1, 1), 1.5)).log_prob(torch.full((1, 1), 255.0))
    assert float(white) > -1e-3
    assert DiscretizedLogistic(inverse_link=torch.tanh).link_range() == (0.0, 255.0)


def test_bits_of_a_uniform_guess_are_8() -> None:
    flat = DiscretizedLogistic(scale=1e7)
    inner = flat.distribution(torch.zeros(2, 3)).log_prob(torch.full((2, 3), 100.0))
    # Two halves of the mass lie in the tails, so an inner level costs more than 8 bits.
    assert bool((bits_per_dimension(inner, 3) > 8).all())
    uniform = torch.tensor([-math.log(256.0) * 12])
    torch.testing.assert_close(bits_per_dimension(uniform, 12), torch.tensor([8.0]))
    several = bits_per_dimension(torch.tensor([-8.0, -8.0]), torch.tensor([2, 4]))
    torch.testing.assert_close(several, torch.tensor([4.0, 2.0]) / math.log(2))


def test_bits_obey_the_entropy() -> None:
    """No code beats the source's entropy: the mean code length of draws from it is the entropy.

    200,000 draws, within six standard errors: false failure 2e-9.
    """
    observation = DiscretizedLogistic(scale=2.0)
    output = torch.zeros(200_000, 1)
    made = observation.distribution(output)
    bits = bits_per_dimension(made.log_prob(made.sample()), 1).double()
    masses = _all_levels(observation, output[:1], 256)[0].double()
    entropy = -float((masses.exp() * masses).sum()) / math.log(2)
    assert abs(float(bits.mean()) - entropy) < 6 * float(bits.std()) / 200_000**0.5


def _interval_log_probabilities(edges: list[float], loc: float, scale: float) -> list[float]:
    """Return log masses between edges of a logistic variable, in float64, from 50 digits."""
    with mpmath.workdps(50):
        location, width = mpmath.mpf(loc), mpmath.mpf(scale)
        ends = [-mpmath.inf, *((mpmath.mpf(e) - location) / width for e in edges), mpmath.inf]
        masses = [_between(a, b) for a, b in itertools.pairwise(ends)]
        return [float(mpmath.log(mass)) for mass in masses]


def _between(a: mpmath.mpf, b: mpmath.mpf) -> mpmath.mpf:
    """Return the mass of a standard logistic between a and b, from the side with less of it."""
    if a > 0:
        a, b = -b, -a
    return 1 / (1 + mpmath.exp(-b)) - 1 / (1 + mpmath.exp(-a))
