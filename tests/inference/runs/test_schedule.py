"""The loop's schedule: averaging, stopping, rates, momentum, chains in a file."""

import itertools
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    GradientDescent,
    Langevin,
    NoProgress,
)
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp


def _data(n: int = 30) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    y = torch.randn(n, 2, generator=generator) @ torch.randn(2, 6, generator=generator)
    y = y + 0.1 * torch.randn(n, 6, generator=generator)
    return torch.where(torch.rand(n, 6, generator=generator) < 0.7, y, torch.nan)


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (6,), hidden=(8,)), Masked(Gaussian(0.3)))


def _abp(model: Any, **settings: Any) -> AlternatingBackProp:
    return AlternatingBackProp(model, **{"batch_size": 8, "inference_steps": 3, **settings})


def _weights(model: GeneratorModel) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_average_is_that_of_the_iterates() -> None:
    model, seen = _model(), []
    abp = _abp(model, average_from=2, batch_size=30)
    fit = abp.fit(
        _data(),
        epochs=5,
        callbacks=[lambda *_: seen.append(_weights(model))],
        progress=False,
    )
    assert fit.averaged is not None
    expected = torch.stack(seen[2:]).mean(0)
    torch.testing.assert_close(torch.cat([p.flatten() for p in fit.averaged.values()]), expected)
    last = _weights(model)
    with abp.averaged():
        torch.testing.assert_close(_weights(model), expected)
    assert torch.equal(_weights(model), last)
    with (
        pytest.raises(RuntimeError, match="nothing has been averaged yet: average_from is None"),
        _abp(_model()).averaged(),
    ):
        pass


def test_averaging_comes_nearer_to_the_optimum_at_a_constant_rate() -> None:
    """PPCA of one latent with known σ: the optimum's log-likelihood by Tipping & Bishop (1999)."""
    torch.manual_seed(0)
    n, columns = 300, 4
    y = torch.randn(n, 1) @ torch.randn(1, columns) + torch.randn(n, columns)
    values, vectors = torch.linalg.eigh(torch.cov(y.T, correction=0))
    best = vectors[:, -1:] * (values[-1] - 1).sqrt()

    def log_likelihood(weight: Tensor, bias: Tensor) -> float:
        covariance = weight @ weight.T + torch.eye(columns)
        normal = torch.distributions.MultivariateNormal(bias, covariance)
        return float(normal.log_prob(y).mean())

    optimum = log_likelihood(best, y.mean(0))
    network = mlp(1, columns, hidden=())
    model = GeneratorModel(Normal(1), network, Gaussian(1.0))
    gaps: list[float] = []
    abp = AlternatingBackProp(
        model,
        kernel=HMC(3),
        inference_steps=1,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.2),
        batch_size=30,
        average_from=20,
    )

    def record(*_: Any) -> None:
        gaps.append(optimum - log_likelihood(network[0].weight.detach(), network[0].bias.detach()))

    abp.fit(y, epochs=60, callbacks=[record], progress=False)
    with abp.averaged():
        record()
    # Against the mean gap of 40 epochs' ends, so that no lucky last iterate decides.
    assert 0 <= gaps[-1] < 0.2 * sum(gaps[20:60]) / 40


def test_robbins_monro_rates_and_the_papers_momentum_learn() -> None:
    def rates(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: (1 + epoch) ** -0.6)

    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5)
    fit = _abp(model, kernel=Langevin(0.1), optimizer=optimizer, scheduler=rates).fit(
        _data(), epochs=40, progress=False
    )
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * 41**-0.6)
    assert fit.history["loss"][-1] < 0.5 * fit.history["loss"][0]


def test_gradient_descent_descends_in_both() -> None:
    """The paper's alternating gradient descent: with full batches the joint energy only falls."""
    model = _model()
    fit = _abp(
        model,
        kernel=GradientDescent(0.05),
        inference_steps=1,
        optimizer=torch.optim.SGD(model.parameters(), lr=1e-3),
        batch_size=30,
    ).fit(_data(), epochs=50, progress=False)
    loss = fit.history["loss"]
    assert all(later < earlier for earlier, later in itertools.pairwise(loss))


def test_the_stop_rule_compares_windows() -> None:
    rule = NoProgress(patience=2)
    assert not rule({"loss": [3.0, 3.0, 3.0]})
    assert not rule({"loss": [3.0, 2.0, 2.0, 2.0]})
    assert rule({"loss": [3.0, 2.0, 2.0, 3.0]})
    assert NoProgress(2, least_gain=1.0)({"loss": [3.0, 2.0, 2.0, 2.0]})
    with pytest.raises(ValueError, match=r"key must be an entry of the history, one of \['loss'\]"):
        NoProgress(2, key="speed")({"loss": [1.0]})
    with pytest.raises(ValueError, match="patience must be a positive integer, got 0"):
        NoProgress(0)


def test_a_run_stops_and_stays_stopped(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "epochs": 50,
        "stop": NoProgress(3, key="validation_energy", least_gain=1.0),
        "validation": _data(6),
        "progress": False,
    }
    fit = _abp(_model()).fit(_data(), checkpoint=tmp_path / "run.pt", **settings)
    assert fit.stopped
    assert 6 <= len(fit.history["loss"]) < 50
    again = _abp(_model()).fit(_data(), checkpoint=tmp_path / "run.pt", **settings)
    assert again.stopped
    assert again.history == fit.history


def test_a_callable_optimizer_is_made_anew_and_an_instance_is_kept() -> None:
    model = _model()
    made = []

    def make(parameters: list[Tensor]) -> torch.optim.Optimizer:
        made.append(torch.optim.Adam(parameters, lr=1e-3))
        return made[-1]

    abp = _abp(model, optimizer=make)
    abp.fit(_data(), epochs=1, progress=False)
    abp.fit(_data(), epochs=1, progress=False)
    assert len(made) == 2
    kept = torch.optim.Adam(model.parameters(), lr=1e-3)
    abp = _abp(model, optimizer=kept)
    abp.fit(_data(), epochs=1, progress=False)
    abp.fit(_data(), epochs=1, progress=False)
    assert abp.optimizer is kept
    steps = [int(state["step"]) for state in kept.state.values()]
    assert steps == [2 * math.ceil(30 / 8)] * len(steps)


def test_chains_in_a_file_are_the_same_chains(tmp_path: Path) -> None:
    memory, disk = _model(), _model()
    kept = _abp(memory, num_chains=2).fit(_data(), epochs=3, progress=False)
    abp = _abp(disk, num_chains=2, chains_file=tmp_path / "chains.bin")
    mapped = abp.fit(_data(), epochs=3, progress=False)
    assert torch.equal(kept.latents, mapped.latents)
    assert torch.equal(_weights(memory), _weights(disk))
    assert (tmp_path / "chains.bin").stat().st_size == 30 * 2 * 2 * 4
    assert mapped.latents.data_ptr() == abp.chains.position.data_ptr()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"chains_file .* exists already"):
        _abp(_model(), chains_file=tmp_path / "chains.bin").fit(_data(), epochs=1, progress=False)


def test_stopped_with_chains_in_a_file_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    """And with an average; stopped in the middle of the third epoch."""
    whole = _model()
    expected = _abp(whole, average_from=1).fit(_data(), epochs=4, progress=False)

    class Stopping(MALA):
        count = 0

        def step(self, *arguments: Any) -> Any:
            Stopping.count += 1
            if Stopping.count == 27:
                signal.raise_signal(signal.SIGINT)
            return super().step(*arguments)

        def __repr__(self) -> str:
            return repr(MALA())

    settings: dict[str, Any] = {"average_from": 1, "chains_file": tmp_path / "chains.bin"}
    with pytest.raises(KeyboardInterrupt, match="call fit again with it to go on"):
        _abp(_model(), kernel=Stopping(), **settings).fit(
            _data(), epochs=4, checkpoint=tmp_path / "run.pt", progress=False
        )
    model = _model()
    resumed = _abp(model, **settings).fit(
        _data(), epochs=4, checkpoint=tmp_path / "run.pt", progress=False
    )
    assert torch.equal(resumed.latents, expected.latents)
    assert torch.equal(_weights(model), _weights(whole))
    assert resumed.averaged is not None
    assert expected.averaged is not None
    for name, value in expected.averaged.items():
        assert torch.equal(resumed.averaged[name], value)
    assert len(list(tmp_path.glob("run.pt.chains-*"))) == 1
    for file in tmp_path.glob("run.pt.chains-*"):
        file.unlink()
    with pytest.raises(ValueError, match="that file is gone"):
        _abp(_model(), **settings).fit(
            _data(), epochs=5, checkpoint=tmp_path / "run.pt", progress=False
        )


def test_the_loops_mass_follows_the_curvature() -> None:
    """Latents of prior variance 1, one of them seen with precision 10,000: curvatures 1 and 1e4."""
    network = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 0.0]]))
    model = GeneratorModel(Normal(2), network, Gaussian(0.01))
    y = 0.3 * torch.randn(40, 1, generator=torch.Generator().manual_seed(0))
    chains = {}
    for mass in ("diagonal", "identity"):
        kernel = HMC(4, mass=mass)  # type: ignore[arg-type]
        abp = _abp(
            model,
            kernel=kernel,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
            batch_size=40,
            num_chains=4,
        )
        abp.fit(y, epochs=150, progress=False)
        assert abp.chains is not None
        chains[mass] = abp.chains
    curvature = chains["diagonal"].curvature
    assert chains["identity"].curvature.shape == (40, 0)
    # A running mean of some 50 steps of 4 chains, over 40 examples: within a fifth.
    torch.testing.assert_close(curvature.mean(0), torch.tensor([10_001.0, 1.0]), rtol=0.2, atol=0.0)
    # In coordinates of about unit scale the step size is of order one; else of the smallest scale.
    assert float(chains["diagonal"].step_size.median()) > 0.5
    assert float(chains["identity"].step_size.median()) < 0.02
