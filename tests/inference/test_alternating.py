import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor
from torch.distributions import constraints
from torch.utils.data import DataLoader, TensorDataset

from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    GradientDescent,
    Langevin,
)
from explainaway.inference.runs import chains
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, deconvnet, mlp

KERNELS = [Langevin(0.1), Langevin(), GradientDescent(), MALA(), HMC(3)]


def _data(n: int = 30) -> Tensor:
    y = torch.randn(n, 2) @ torch.randn(2, 6) + 0.1 * torch.randn(n, 6)
    return torch.where(torch.rand(n, 6) < 0.7, y, torch.nan)


def _model(seed: int = 0) -> GeneratorModel:
    torch.manual_seed(seed)
    return GeneratorModel(Normal(2), mlp(2, (6,), hidden=(8,)), Masked(Gaussian(0.3)))


def _abp(model: Any, **settings: Any) -> AlternatingBackProp:
    return AlternatingBackProp(model, **{"batch_size": 8, "inference_steps": 3, **settings})


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_learning_lowers_the_loss(kernel: Any) -> None:
    fit = _abp(
        _model(), kernel=kernel, optimizer=lambda params: torch.optim.Adam(params, lr=2e-2)
    ).fit(_data(), epochs=15, progress=False)
    loss = fit.history["loss"]
    assert loss[-1] < 0.5 * loss[0]
    assert fit.latents.shape == (30, 2)
    assert set(fit.history) == {
        "loss",
        "energy",
        "acceptance_rate",
        "step_size",
        "num_diverging",
        "num_proposals",
        "seconds",
        "gain",
        "gain_error",
        "score_gain",
        "score_gain_error",
    }
    assert all(len(values) == 15 for values in fit.history.values())


def test_the_same_seed_gives_the_same_bits() -> None:
    y = _data()
    fits, states = [], []
    for seed in (0, 0, 1):
        model = _model()
        torch.manual_seed(seed + 100)  # the global random state must not matter
        fits.append(_abp(model).fit(y, epochs=3, seed=seed, progress=False).latents)
        states.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(fits[0], fits[1])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(fits[0], fits[2])


def test_dropout_is_reproduced_too() -> None:
    y, latents = _data(), []
    for _ in range(2):
        torch.manual_seed(0)
        network = torch.nn.Sequential(*mlp(2, (6,)), torch.nn.Dropout(0.2))
        model = GeneratorModel(Normal(2), network, Masked(Gaussian(0.3)))
        torch.rand(3)
        latents.append(_abp(model).fit(y, epochs=2, progress=False).latents)
    assert torch.equal(*latents)


def test_chains_do_not_depend_on_batch_mates_or_their_order() -> None:
    """θ stands still; every example is visited twice, in different batches and orders."""
    y, model = _data(12), _model()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.network[0].weight.requires_grad_(True)
    ends = []
    for batches in (
        [torch.arange(12)],
        [torch.arange(11, -1, -1)],
        [torch.tensor([3, 1, 0, 2]), torch.tensor([11, 4, 9, 5, 7]), torch.tensor([6, 8, 10])],
    ):
        abp = _abp(model, optimizer=torch.optim.SGD([model.network[0].weight], lr=0.0))
        abp.start(y, seed=5)
        for _ in range(2):
            for index in batches:
                abp.step(y[index], index)
        assert abp.chains is not None
        ends.append(abp.chains)
    for other in ends[1:]:
        torch.testing.assert_close(other.position, ends[0].position, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other.step_size, ends[0].step_size, rtol=1e-4, atol=1e-6)
        assert torch.equal(other.num_steps, ends[0].num_steps)


def test_several_chains_are_averaged_in_the_loss() -> None:
    fit = _abp(_model(), num_chains=3).fit(_data(), epochs=2, progress=False)
    assert fit.latents.shape == (3, 30, 2)
    assert not torch.equal(fit.latents[0], fit.latents[1])


@pytest.mark.parametrize("kind", ["mask", "numpy", "dataset", "loader", "double"])
def test_data_come_in_many_forms(kind: str) -> None:
    y = _data()
    expected = _abp(_model()).fit(y, epochs=1, progress=False).latents
    model = _model()
    given: dict[str, tuple[Any, dict[str, Any]]] = {
        "mask": (torch.where(y.isnan(), 7.0, y), {"mask": ~y.isnan()}),
        "numpy": (y.numpy().astype(np.float64), {}),
        "dataset": (TensorDataset(y), {}),
        "loader": (DataLoader(TensorDataset(y), batch_size=4, shuffle=True), {}),
        "double": (y.double(), {}),
    }
    data, more = given[kind]
    fit = _abp(model).fit(data, epochs=1, progress=False, **more)
    torch.testing.assert_close(fit.latents, expected)
    assert fit.latents.dtype == torch.float32


def test_a_double_model_is_learned_in_double() -> None:
    fit = _abp(_model().double()).fit(_data(), epochs=1, progress=False)
    assert fit.latents.dtype == torch.float64


def test_callbacks_and_validation() -> None:
    seen: list[dict[str, float]] = []
    fit = _abp(_model()).fit(
        _data(),
        epochs=4,
        validation=_data(10),
        progress=False,
        callbacks=[lambda abp, record: seen.append(record)],
    )
    assert len(seen) == 4
    assert [record["validation_energy"] for record in seen] == fit.history["validation_energy"]


def test_validation_does_not_change_what_is_learned() -> None:
    y, one, two = _data(), _model(), _model()
    _abp(one).fit(y, epochs=3, progress=False)
    _abp(two).fit(y, epochs=3, validation=_data(10), progress=False)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_scheduler_is_stepped_once_an_epoch() -> None:
    rates: list[float] = []
    abp = _abp(
        _model(),
        optimizer=lambda params: torch.optim.Adam(params, lr=2**-10),
        scheduler=lambda adam: torch.optim.lr_scheduler.ExponentialLR(adam, 0.5),
    )
    abp.fit(
        _data(),
        epochs=3,
        progress=False,
        callbacks=[lambda abp, _: rates.append(abp.optimizer.param_groups[0]["lr"])],
    )
    assert rates == [2**-11, 2**-12, 2**-13]


def test_init_strategy_places_the_chains() -> None:
    abp = _abp(_model(), init_strategy=init_to_value(values={"z": torch.full((30, 2), 0.5)}))
    abp.start(_data())
    assert abp.chains is not None
    torch.testing.assert_close(abp.chains.position, torch.full((30, 1, 2), 0.5))


# Its hook keeps a record, which a graph would not: the model is run as it is, and says so.
@pytest.mark.filterwarnings("ignore:the model cannot be captured")
def test_batch_normalisation_learns_from_batches_and_infers_without_them() -> None:
    torch.manual_seed(0)
    network = deconvnet(2, (1, 8, 8), width=4, batch_norm=True)
    model = GeneratorModel(Normal(2), network, Masked(Gaussian(0.3, torch.tanh)))
    modes: list[bool] = []
    norm = next(m for m in network if isinstance(m, torch.nn.BatchNorm2d))
    norm.register_forward_hook(lambda module, *_: modes.append(module.training))
    abp = _abp(model)
    y = torch.rand(8, 1, 8, 8)
    abp.start(y)
    abp.step(y, torch.arange(8))
    modes.clear()
    before = norm.running_mean.clone()
    abp.step(y, torch.arange(8))
    # MALA: one evaluation at the start and three steps, then θ's step.
    assert modes == [False] * 4 + [True]
    assert not torch.equal(norm.running_mean, before)
    assert model.training


def test_a_models_own_parameters_and_constrained_latents_are_learned() -> None:
    def own(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        with pyro.plate("rows", len(x)):
            rate = pyro.sample("rate", dist.Gamma(3.0, 1.0))
            mix = pyro.sample("mix", dist.Dirichlet(torch.ones(3)))
            pyro.sample("x", dist.Normal(rate[:, None] * mix, scale).to_event(1), obs=x)

    x = 3 * dist.Dirichlet(torch.ones(3)).sample((40,)) + 0.1 * torch.randn(40, 3)
    fit = _abp(own, optimizer=lambda p: torch.optim.Adam(p, lr=5e-2)).fit(
        x, epochs=40, progress=False
    )
    assert float(pyro.param("scale").detach()) < 0.6
    assert fit.latents["rate"].shape == (40,)
    assert (fit.latents["rate"] > 0).all()
    torch.testing.assert_close(fit.latents["mix"].sum(1), torch.ones(40))


def _parameters(model: GeneratorModel) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("stop_after", [8, 6], ids=["at an epoch's edge", "inside an epoch"])
def test_killed_and_resumed_gives_the_same_bits(tmp_path: Path, stop_after: int) -> None:
    """Cases 21 and 22: order, chains, weights, moments; 30 examples in batches of 8."""
    y = _data()
    whole_model = _model()
    whole_abp = _abp(whole_model)
    whole = whole_abp.fit(y, epochs=4, seed=3, progress=False)

    path = tmp_path / "run.pt"
    model = _model()
    abp = _abp(model)
    steps = 0
    original = abp.step

    def interrupted(*args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            signal.raise_signal(signal.SIGINT)
        return original(*args)

    abp.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt, match=r"call fit again with it to go on"):
        abp.fit(y, epochs=4, seed=3, checkpoint=path, progress=False)
    assert steps == stop_after

    other = _model(seed=99)
    resumed_abp = _abp(other)
    resumed = resumed_abp.fit(y, epochs=4, seed=3, checkpoint=path, progress=False)
    assert torch.equal(resumed.latents, whole.latents)
    assert torch.equal(_parameters(other), _parameters(whole_model))
    assert resumed.history["loss"] == whole.history["loss"]
    for a, b in zip(
        whole_abp.optimizer.state.values(), resumed_abp.optimizer.state.values(), strict=True
    ):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert resumed_abp.chains is not None
    assert whole_abp.chains is not None
    assert torch.equal(resumed_abp.chains.step_size, whole_abp.chains.step_size)


def test_a_finished_run_can_be_prolonged(tmp_path: Path) -> None:
    """Of a constant rate it is the longer run; where the rate has fallen it says that it is not."""
    y, path = _data(), tmp_path / "run.pt"
    constant = {"optimizer": lambda params: torch.optim.Adam(params, lr=1e-2)}
    whole = _abp(_model(), **constant).fit(y, epochs=4, progress=False)
    _abp(_model(), **constant).fit(y, epochs=2, checkpoint=path, progress=False)
    longer = _abp(_model(), **constant).fit(y, epochs=4, checkpoint=path, progress=False)
    assert torch.equal(longer.latents, whole.latents)
    other = tmp_path / "other.pt"
    _abp(_model()).fit(y, epochs=10, checkpoint=other, progress=False)
    with pytest.warns(UserWarning, match="fallen since epoch 6, for an end after 10 epochs"):
        longer = _abp(_model()).fit(y, epochs=12, checkpoint=other, progress=False)
    assert len(longer.history["loss"]) == 12


def test_a_run_that_is_prolonged_before_its_rate_falls_is_the_longer_one(tmp_path: Path) -> None:
    y, path = _data(), tmp_path / "run.pt"
    whole = _abp(_model()).fit(y, epochs=20, progress=False)
    abp, steps = _abp(_model()), 0
    original = abp.step

    def interrupted(*args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 22:
            signal.raise_signal(signal.SIGINT)
        return original(*args)

    abp.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        abp.fit(y, epochs=10, checkpoint=path, progress=False)
    longer = _abp(_model()).fit(y, epochs=20, checkpoint=path, progress=False)
    assert torch.equal(longer.latents, whole.latents)
    assert longer.history["gain"] == whole.history["gain"]


def test_a_users_parameters_are_in_the_checkpoint(tmp_path: Path) -> None:
    def own(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    x, path = torch.randn(20), tmp_path / "run.pt"
    _abp(own).fit(x, epochs=2, checkpoint=path, progress=False)
    learned = pyro.param("scale").detach().clone()
    pyro.clear_param_store()
    _abp(own).fit(x, epochs=2, checkpoint=path, progress=False)
    assert torch.equal(pyro.param("scale").detach(), learned)
    content = torch.load(path, weights_only=True)
    assert "scale" in content["model"]


SCRIPT = """
import sys, torch
from explainaway.inference import AlternatingBackProp
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp
torch.manual_seed(0)
y = torch.randn(40, 6)
model = GeneratorModel(Normal(2), mlp(2, (6,)), Gaussian(0.3))
abp = AlternatingBackProp(model, batch_size=8)
def ready(abp, record):
    if not said:
        said.append(print("ready", flush=True))
said = []
abp.fit(y, epochs=100_000, checkpoint=sys.argv[1], progress=False, callbacks=[ready])
"""


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "call fit again with it to go on" in errors
    assert torch.load(path, weights_only=True)["progress"]["iteration"] > 0


def test_kept_keys_are_those_that_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    index = torch.tensor([4, 0, 3])
    keys = []
    for most in (0, 100):
        monkeypatch.setattr(chains, "MOST_KEPT_KEYS", most)
        some = chains.Chains.start(torch.zeros(6, 2, 1), MALA())
        keys.append([some.keys(seed, index) for seed in (1, 1, 2)])
    for one, other in zip(*keys, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(keys[0][0], keys[0][2])
