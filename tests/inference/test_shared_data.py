"""Case 29 (benchopt/benchopt#187), and case 1 across calls: what was sampled stays what it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    GaussNewton,
    GradientDescent,
    Langevin,
    ParallelTempering,
    RiemannianMALA,
    SamplingWarning,
    bind,
    sample_posterior,
)
from explainaway.inference.potentials import data
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

SETTINGS: dict[str, Any] = {"warmup_steps": 200, "num_samples": 500, "progress": False}


def _model(sigma: float = 1.0) -> GeneratorModel:
    """Return case 29's, which is model m: w = (2, 3)."""
    network = mlp(1, (2,), hidden=())
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[2.0], [3.0]]))
        network[0].bias.zero_()
    return GeneratorModel(Normal(1), network, Masked(Gaussian(sigma)))


@pytest.mark.parametrize("kind", ["tensor", "array", "mask"])
def test_data_changed_in_place_afterwards_do_not_matter(kind: str) -> None:
    """y = (5, hidden), w = (2, 3): z has mean 2.0."""
    y = torch.tensor([[5.0, torch.nan]])
    given: Any = y.numpy() if kind == "array" else y
    mask = ~y.isnan() if kind == "mask" else None
    posterior = sample_posterior(_model(), given, mask=mask, **SETTINGS)
    if mask is not None:
        mask.fill_(True)
    y[y.isnan()] = 0
    longer = posterior.extend(1500, progress=False)
    # Variance .2; 6,000 correlated draws of four chains.
    assert float(longer.samples["z"][:, 500:].mean()) == pytest.approx(2.0, abs=0.06)
    for one in (posterior, longer):
        shown = one.to_arviz(predictive_draws=2, prior_draws=2)["observed_data"]["y"].values
        np.testing.assert_array_equal(shown, [[5.0, np.nan]])
    energy = bind(_model(), torch.tensor([[5.0, torch.nan]]))(longer.position[0, -1])[0]
    torch.testing.assert_close(-longer.sample_stats["lp"][0, -1], energy)


def test_a_large_mapped_file_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is checked by the energies instead, when chains go on."""
    array = np.memmap(tmp_path / "y", np.float32, "w+", shape=(4, 2))
    kept = torch.from_file(str(tmp_path / "z"), shared=True, size=8).reshape(4, 2)
    for given, spoil in ((array, array.fill), (kept, kept.fill_)):
        for most in (1, 2**28):
            monkeypatch.setattr(data, "LARGEST_COPIED", most)
            given[:] = 1
            posterior = sample_posterior(_model(), given, **SETTINGS)
            spoil(9.0)
            if most == 1:
                with pytest.raises(ValueError, match="model or the data are not what these draws"):
                    posterior.extend(5, progress=False)
                with pytest.raises(ValueError, match="model or the data are not what these draws"):
                    posterior.to_arviz(predictive_draws=1)
            else:
                assert (posterior.observed["y"] == 1).all()


def test_data_changed_while_learning_do_not_matter() -> None:
    latents = []
    for spoils in (False, True):
        y = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))

        def spoil(*_: Any, y: torch.Tensor = y, spoils: bool = spoils) -> None:
            if spoils:
                y.zero_()

        abp = AlternatingBackProp(_model(), batch_size=10)
        fit = abp.fit(y, epochs=3, callbacks=[spoil], progress=False)
        latents.append(fit.latents)
    assert torch.equal(*latents)


KERNELS = [
    HMC(3),
    MALA(),
    Langevin(),
    GradientDescent(),
    GaussNewton(),
    RiemannianMALA(),
    ParallelTempering(3, 2),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_energies_are_checked_before_chains_go_on(kernel: Any) -> None:
    """Case 1: the scale is a buffer, so θ's fingerprint is what it was."""
    model = _model()
    settings = {**SETTINGS, "warmup_steps": 30, "num_samples": 10}
    posterior = sample_posterior(model, torch.randn(5, 2), kernel=kernel, **settings)
    posterior = posterior.extend(10, progress=False)
    model.observation.base.log_scale.data.add_(1.0)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"(energy of the last draw|parameters have changed)"):
        posterior.extend(10, progress=False)


def test_an_extend_whose_chains_do_not_move_warns() -> None:
    posterior = sample_posterior(_model(), torch.randn(3, 2), **SETTINGS)
    plan = posterior.continuation
    assert plan is not None
    assert plan.state is not None
    plan.state["step_size"].fill_(1e4)  # type: ignore[index]
    with pytest.warns(SamplingWarning, match="12 chains stopped moving in the further draws"):
        posterior.extend(50, progress=False)
