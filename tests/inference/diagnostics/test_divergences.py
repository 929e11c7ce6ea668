"""When divergent proposals are a warning (case 53: not in unbiased runs of eight schools)."""

import pytest
import torch

from explainaway.inference import summarise


@pytest.mark.parametrize(
    ("num_diverging", "is_told"), [(0, False), (17, False), (20, True), (400, True)]
)
def test_few_divergences_in_chains_that_mix_are_no_warning(
    num_diverging: int, is_told: bool
) -> None:
    """Of 4,000 proposals, each diverging with .2 %, more than 17 do in one run of a thousand."""
    diverging = torch.zeros(4, 1000, 1, dtype=torch.bool)
    diverging.view(-1)[:num_diverging] = True
    summary = summarise(torch.randn(4, 1000, 1, 2), torch.randn(4, 1000, 1), diverging)
    assert summary.num_diverging.tolist() == [num_diverging]
    assert any("diverged" in problem for problem in summary.problems()) is is_told


def test_one_divergence_in_chains_that_do_not_mix_is_told() -> None:
    diverging = torch.zeros(4, 1000, 1, dtype=torch.bool)
    diverging[0, 0] = True
    apart = torch.randn(4, 1000, 1, 1) + torch.arange(4.0)[:, None, None, None]
    assert "1 proposal diverged" in summarise(apart, None, diverging).problems()[0]
