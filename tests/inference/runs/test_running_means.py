"""Posterior means that a fit accumulates over its last epochs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from explainaway.inference import HMC, AlternatingBackProp
from explainaway.models import Categorical, Gaussian, GeneratorModel, Masked, Normal, mlp

from ...conftest import linear_gaussian


def _abp(model: Any, **settings: Any) -> AlternatingBackProp:
    return AlternatingBackProp(
        model, **{"optimizer": lambda params: torch.optim.SGD(params, lr=0.0), **settings}
    )


@pytest.mark.parametrize("num_chains", [1, 4])
def test_they_are_the_posterior_means(num_chains: int) -> None:
    """At fixed θ of a linear model the signal's posterior mean is known.

    Its error is a draw's over the square root of the number of draws, three quarters of which
    count as the later ones weigh more, if these were independent; they nearly are (HMC, 5 steps
    between them). Over 400 signals a mean square ratio of 1 has a standard error of some .1.
    """
    linear = linear_gaussian(torch.randn(8, 2), scale=0.5)
    y = torch.randn(50, 2) @ linear.weight.T + 0.5 * torch.randn(50, 8)
    y[torch.rand(y.shape) < 0.3] = torch.nan
    settings: dict[str, Any] = {"kernel": HMC(6), "inference_steps": 5, "batch_size": 50}
    abp = _abp(linear.model, num_chains=num_chains, **settings)
    fit = abp.fit(y, epochs=100, progress=False)
    mean, covariance = linear.posterior(y, ~y.isnan())
    exact = mean @ linear.weight.T
    variance = torch.einsum("cd,nde,ce->nc", linear.weight, covariance, linear.weight)
    assert fit.mean_signal is not None
    ratio = ((fit.mean_signal - exact) ** 2 / variance).mean() * 30 * num_chains
    assert 0.4 < float(ratio) < 1.6
    assert fit.filled is not None
    hidden = y.isnan()
    assert torch.equal(fit.filled[~hidden], y[~hidden])
    torch.testing.assert_close(fit.filled[hidden], fit.mean_signal[hidden])


def test_they_are_those_of_the_last_epochs() -> None:
    """Of 5 epochs the last two, with weights 1 and 2."""
    model = GeneratorModel(Normal(2), mlp(2, (4,)), Masked(Gaussian(0.3)))
    y, seen = torch.randn(30, 4), []

    def keep(abp: AlternatingBackProp, _: Any) -> None:
        assert abp.chains is not None
        seen.append(model.decode(abp.chains.position[:, 0]))

    fit = _abp(model).fit(y, epochs=5, callbacks=[keep], progress=False)
    torch.testing.assert_close(fit.mean_signal, (seen[3] + 2 * seen[4]) / 3)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_shortest_runs_have_them_too(epochs: int) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (4,)), Masked(Gaussian(0.3)))
    fit = _abp(model).fit(torch.randn(30, 4), epochs=epochs, progress=False)
    torch.testing.assert_close(fit.mean_signal, model.decode(fit.latents))


def test_a_prolonged_run_has_the_means_of_the_longer_one(tmp_path: Path) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (4,)), Masked(Gaussian(0.3)))
    y = torch.randn(30, 4)
    whole = _abp(model).fit(y, epochs=12, progress=False)
    for epochs in (6, 12):
        fit = _abp(model).fit(y, epochs=epochs, checkpoint=tmp_path / "run.pt", progress=False)
    assert torch.equal(fit.mean_signal, whole.mean_signal)


def test_what_has_no_mean_is_left_out_and_all_of_it_when_asked(tmp_path: Path) -> None:
    kind = Categorical(3)
    model = GeneratorModel(Normal(2), mlp(2, kind.output_shape((4,))), Masked(kind))
    y = torch.randint(0, 3, (30, 4)).float()
    fit = _abp(model).fit(y, epochs=3, progress=False)
    assert fit.filled is None
    assert fit.mean_signal is not None
    torch.testing.assert_close(fit.mean_signal.sum(-1), torch.ones(30, 4))
    assert _abp(model).fit(y, epochs=3, posterior_means=False, progress=False).mean_signal is None
    on_disk = _abp(model, chains_file=tmp_path / "chains.bin").fit(y, epochs=3, progress=False)
    assert on_disk.mean_signal is None
    with pytest.raises(ValueError, match='posterior_means must be True, False or "auto", got 1'):
        _abp(model).fit(y, epochs=1, posterior_means=1, progress=False)
