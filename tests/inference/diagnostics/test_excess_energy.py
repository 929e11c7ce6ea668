"""Rows that a model explains far worse than all others are named, and others are not."""

import numpy as np
import pytest
import torch

from explainaway.inference import SamplingWarning, sample_posterior, summarise
from explainaway.inference.diagnostics.excess_energy import FAR, excess_energy
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, linear


def test_it_counts_spreads_between_examples() -> None:
    """Energies normal with mean 30 and deviation 4, one 100 deviations off; means of 200 draws."""
    energies = 30 + 4 * torch.randn(2000)
    energies[7] = 430.0
    lp = -energies + torch.zeros(2, 100, 1)
    found = excess_energy(lp)
    # The error of a median absolute deviation is 1.17 / sqrt(2n), of the median 1.25 / sqrt(n).
    assert found[7] == pytest.approx(100, rel=6 * 1.17 / 4000**0.5)
    assert np.nanmax(np.delete(found, 7)) < 6


def test_of_few_examples_or_equal_ones_nothing_stands_out() -> None:
    assert np.isnan(excess_energy(torch.randn(2, 5, 19))).all()
    equal = torch.full((2, 5, 30), -3.0)
    equal[:, :, 0] = -50.0
    assert excess_energy(equal)[0] == pytest.approx(47)
    equal[:, :, 1] = torch.nan
    assert np.isnan(excess_energy(equal)[1])


def test_a_row_whose_numbers_are_wrong_is_named_though_its_chains_agree() -> None:
    """A linear model's posterior is normal whatever the data: every chain of it mixes."""
    torch.manual_seed(0)
    model = GeneratorModel(Normal(2), linear(2, 12), Masked(Gaussian(0.5)))
    y = model.generate(30, seed=0, noise=True)
    good = sample_posterior(model, y, num_samples=200, progress=False)
    assert good.summary().untrusted == []
    y[4] += 50 * (-1.0) ** torch.arange(12)
    with pytest.warns(SamplingWarning, match=r"spreads above .* in 1 of 30 examples, \[4\]"):
        posterior = sample_posterior(model, y, num_samples=200, progress=False)
    summary = posterior.summary()
    assert summary.excess[4] > FAR
    assert summary.untrusted == [4]
    assert not summary.differing[4]


def test_without_energies_nothing_is_said() -> None:
    summary = summarise(torch.randn(2, 50, 30, 2))
    assert np.isnan(summary.excess).all()
    assert not summary.unexplained.any()
