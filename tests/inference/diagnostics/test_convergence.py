"""Convergence statistics against ArviZ, one variable at a time."""

import arviz as az
import numpy as np
import pytest
import torch
from torch import Tensor

from explainaway.inference.diagnostics.convergence import nested_rhat, rhat_and_ess, split_rhat


def _autoregressive(chains: int, draws: int, correlation: float) -> Tensor:
    x = torch.randn(chains, draws, 6, dtype=torch.double)
    for t in range(1, draws):
        x[:, t] = correlation * x[:, t - 1] + (1 - correlation**2) ** 0.5 * x[:, t]
    x[..., 1] = x[..., 1].round(decimals=1)
    x[..., 2] += torch.arange(chains)[:, None]
    return x


@pytest.mark.parametrize("chains", [2, 4])
@pytest.mark.parametrize("draws", [4, 5, 7, 10, 33, 100, 501])
@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.0, 0.5, 0.95])
def test_they_are_arvizs(chains: int, draws: int, correlation: float) -> None:
    x = _autoregressive(chains, draws, correlation)
    rhat, ess = rhat_and_ess(x)
    for k in range(x.shape[2]):
        values = x[..., k].numpy()
        np.testing.assert_allclose(ess[k], float(az.ess(values)), rtol=1e-8)
        np.testing.assert_allclose(rhat[k], float(az.rhat(values)), rtol=1e-8)
        np.testing.assert_allclose(
            split_rhat(x)[k], float(az.rhat(values, method="split")), rtol=1e-8
        )


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _autoregressive(4, 50, 0.5).reshape(4, 50, 2, 3)
    whole = rhat_and_ess(x)
    monkeypatch.setattr("explainaway.inference.diagnostics.convergence.CHUNK", 400)
    for a, b in zip(rhat_and_ess(x), whole, strict=True):
        assert a.shape == (2, 3)
        torch.testing.assert_close(a, b)


def test_nested_rhat_of_single_draws() -> None:
    """Case 6: superchains (1, 3) and (5, 7): between 8, within 2, sqrt(1 + 8 / 2)."""
    draws = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
    assert float(nested_rhat(draws, 2)) == pytest.approx(2.236068, abs=1e-6)


def test_nested_rhat_of_converged_short_chains_is_near_one() -> None:
    """Within counts chain means and draws: √(1 + 1/m) for m independent chains of one draw."""
    draws = torch.randn(64 * 16, 1, 2000, dtype=torch.double)
    values = nested_rhat(draws, 64)
    assert float((values**2).mean()) == pytest.approx(1 + 1 / 16, abs=0.005)
    apart = draws + torch.arange(64).repeat_interleave(16)[:, None, None]
    assert float(nested_rhat(apart, 64).min()) > 10


def test_what_nested_rhat_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match="divide the 4 chains, got 3"):
        nested_rhat(torch.randn(4, 1), 3)
    with pytest.raises(ValueError, match="one chain with one draw"):
        nested_rhat(torch.randn(4, 1), 4)
