"""The verdict on draws: silent about chains that mix, however few; faults are named by example."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from explainaway.inference import MALA, SamplingWarning, sample_posterior, summarise
from explainaway.inference.diagnostics.disagreement import (
    between_chains,
    limit_between_chains,
    most_by_chance,
)
from explainaway.inference.diagnostics.standstill import frozen_chains
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

SETTINGS: dict[str, Any] = {"warmup_steps": 60, "num_samples": 20, "progress": False}


@pytest.mark.parametrize("draws", [5, 30, 100])
@pytest.mark.parametrize("shape", [lambda z: z, torch.exp], ids=["normal", "log-normal"])
def test_the_limit_is_exceeded_as_often_as_it_says(draws: int, shape: Any) -> None:
    """Of 8,000 variables; log-normal draws exceed it less often, not more."""
    ratio = between_chains(shape(torch.randn(4, draws, 8_000)))
    share = float((ratio > limit_between_chains(4, draws, 1, 0.01)).double().mean())
    # Two kinds of scores are tested by Bonferroni; five standard errors.
    assert share < 0.01 + 5 * (0.01 * 0.99 / 8_000) ** 0.5
    assert share > 0.003


def test_batches_forgive_autocorrelation_that_they_are_longer_than() -> None:
    """ρ = .5 of 300 draws: single draws would exceed the limit in a tenth of all variables."""
    z = torch.randn(4, 300, 2_000)
    for t in range(1, 300):
        z[:, t] = 0.5 * z[:, t - 1] + 0.75**0.5 * z[:, t]
    assert (
        float((between_chains(z) > limit_between_chains(4, 300, 1, 0.01)).double().mean()) < 0.025
    )


def test_the_limit_grows_with_the_number_of_variables() -> None:
    limits = [limit_between_chains(4, 100, number, 0.001) for number in (1, 100, 10_000)]
    assert limits == sorted(limits)
    assert limits[-1] < 20
    assert limit_between_chains(1, 5, 1, 0.001) == float("inf")


@pytest.mark.parametrize("draws", [5, 30])
def test_few_draws_of_many_examples_are_no_fault(draws: int) -> None:
    """At most one false alarm in a thousand runs."""
    z = torch.randn(4, draws, 3000, 2)
    assert summarise(z, lp=-z.square().sum(3)).problems() == []


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_of_one_to_three_draws_all_is_told_that_can_be(draws: int) -> None:
    """Of a single draw not whether a chain moves; r-hat and ESS of none."""
    z = torch.randn(4, draws, 3000, 2)
    summary = summarise(z, lp=-z.square().sum(3))
    assert summary.problems() == []
    assert np.isnan(summary.judged.rhat).all()
    assert np.isnan(summary.ess).all()
    assert "r-hat and ESS need at least 4 draws" in str(summary)
    assert summarise(z[..., :1].round(decimals=1)[:, :1]).copied == []
    z[0, 0, 7, 1] = torch.nan
    z[2, :, 41] = z[1, :, 41]
    z[3, :, 5] = z[3, :1, 5]
    summary = summarise(z, diverging=torch.arange(3000).expand(4, draws, 3000) == 99)
    assert summary.not_finite == [(7, 0)]
    assert summary.copied == [(41, 1, 2)]
    assert summary.frozen == ([(5, 3)] if draws > 1 else [])
    assert summary.untrusted == ([5, 7, 41, 99] if draws > 1 else [7, 41, 99])


@pytest.mark.parametrize("draws", [5, 30, 300])
def test_a_chain_in_another_mode_is_named(draws: int) -> None:
    z = torch.randn(4, draws, 300, 2)
    z[2, :, 41, 1] += 12
    summary = summarise(z)
    assert summary.untrusted == [41]
    assert "in 1 of 300 examples, [41]" in summary.problems()[0]


def test_ess_is_held_against_the_draws_that_were_asked_for() -> None:
    for draws, expected in ((5, 0.4), (300, 24), (2000, 160), (20_000, 400)):
        assert summarise(torch.randn(4, draws, 1, 1)).least_ess == pytest.approx(expected)


def test_a_few_divergences_are_chance_and_many_are_not() -> None:
    """Case 53: eight schools, not centred, diverge in .2 % of their proposals and are unbiased."""
    for trials, share, chance in ((20, 0.002, 1e-3), (4000, 0.002, 1e-7)):
        most = most_by_chance(trials, share, chance)
        assert scipy.stats.binom.sf(most, trials, share) < chance
        assert scipy.stats.binom.sf(most - 1, trials, share) >= chance
    diverging = torch.zeros(4, 1000, 3, dtype=torch.bool)
    diverging[0, :16, 0] = True
    assert summarise(torch.randn(4, 1000, 3, 1), diverging=diverging).problems() == []
    diverging[0, :90, 1] = True
    summary = summarise(torch.randn(4, 1000, 3, 1), diverging=diverging)
    assert summary.untrusted == [1]
    assert "106 proposals diverged, in 1 of 3 examples too often, [1] (90" in summary.problems()[0]


def test_values_that_differ_by_rounding_do_not_disagree() -> None:
    z = 1.0 - 1e-7 * torch.rand(4, 50, 1, 1) * torch.arange(4)[:, None, None, None]
    assert between_chains(z).isnan().all()
    assert summarise(torch.cat([z, torch.randn(4, 50, 1, 1)], 3)).problems() == []


def test_rejections_may_explain_a_chain_that_stands_still() -> None:
    still = torch.tensor([[True, True], [False, True]])
    rate = torch.full((2, 5, 2), 0.5)
    rate[:, :, 1] = 1e-4
    # .5⁴ is no small chance, .5⁴⁰ is; where nothing can move, nothing explains it.
    assert frozen_chains(still, rate, 4, 1e-3).tolist() == [[False, True], [False, True]]
    assert frozen_chains(still, rate, 40, 1e-3).tolist() == [[True, True], [False, True]]
    assert frozen_chains(still, torch.full((2, 5, 2), torch.nan), 4, 1e-3).equal(still)
    # Of few draws each chain's own rates count: the best of four is high by chance.
    few = torch.tensor([[[0.5], [0.3]], [[0.9], [1.0]]])
    assert frozen_chains(still[:, :1], few, 40, 1e-3).tolist() == [[False], [False]]
    assert frozen_chains(torch.ones(2, 1) > 0, few, 40, 1e-3).tolist() == [[False], [True]]


class _Square(nn.Module):
    """The signal is z² in each of some cells: its sign makes no difference."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, z: Tensor) -> Tensor:
        return self.weight * z.square().expand(-1, self.cells)


@pytest.mark.parametrize("cells", [3, 40])
def test_latents_that_give_the_same_signal_are_remarked_on_without_a_warning(cells: int) -> None:
    model = GeneratorModel(Normal(1), _Square(cells), Masked(Gaussian(0.3)))
    y = torch.full((4, cells), 2.0)
    y[0, 1] = torch.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior = sample_posterior(model, y, **{**SETTINGS, "warmup_steps": 200}, thinning=3)
    summary = posterior.summary()
    assert summary.judged.what == "signals"
    assert summary.latents_differ
    assert "read signals, not latents" in str(summary)
    # The same chains without the model, by their latents.
    alone = replace(posterior, potential=None, continuation=None)
    assert set(summary.latents_differ) <= set(alone.summary().untrusted)


class _OtherDecode(GeneratorModel):
    def decode(self, name: str) -> str:  # type: ignore[override]
        return name.upper()


def test_a_method_decode_that_means_something_else_is_left_alone() -> None:
    model = _OtherDecode(Normal(2), mlp(2, (3,)), Gaussian(0.3))
    posterior = sample_posterior(model, torch.randn(3, 3), **SETTINGS)
    assert posterior.summary().judged.what == "latents"


def test_constrained_latents_are_judged_of_other_models() -> None:
    def model(y: Tensor) -> None:
        with pyro.plate("examples", len(y)):
            mix = pyro.sample("mix", dist.Dirichlet(torch.ones(3)))
            pyro.sample("y", dist.Normal(mix, 0.5).to_event(1), obs=y)

    posterior = sample_posterior(model, torch.rand(5, 3), **SETTINGS)
    summary = posterior.summary()
    assert summary.judged.what == "constrained latents"
    assert summary.rhat.shape == (5, 2)
    moved = posterior.samples["mix"].clone()
    moved[1, :, 3] = 100 + moved[1, :, 3]
    assert replace(posterior, samples={"mix": moved}).summary().untrusted == [3]


@pytest.mark.parametrize("draws", [1, 20])
def test_an_energy_that_does_not_fit_its_position_is_named(draws: int) -> None:
    """One example far away, whose energy is 1e9 nats, does not excuse another."""
    model = GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.3))
    y = torch.randn(6, 3)
    y[5] = 1e4
    settings = SETTINGS | {"num_samples": draws}
    posterior = sample_posterior(model, y, kernel=MALA(), chunk_size=8, **settings)
    plan = posterior.continuation
    assert plan is not None
    assert plan.state is not None
    assert plan.stale_energies() == []
    plan.state["energy"][2, 4] -= 1.0
    assert [stale[:2] for stale in plan.stale_energies()] == [(4, 2)]
    with pytest.warns(SamplingWarning, match=r"\(example, chain\) \[\(4, 2\)\]"):
        posterior.warn()
    with pytest.raises(ValueError, match="chain 2, example 4"):
        posterior.extend(5, progress=False)


def test_the_worst_are_those_whose_judged_values_differ() -> None:
    z = torch.randn(4, 100, 3, 1)
    signal = z.clone()
    signal[0, :, 1] += 5
    summary = summarise(z, read=lambda some: signal[:, :, some], what="signals")
    assert summary.worst(1)[0].example == 1
    assert summary.worst_rhat == np.nanmax(summary.rhat) < 1.2
