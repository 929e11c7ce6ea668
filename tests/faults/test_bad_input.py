"""Each mistake raises one error, before work starts, that says what was given and expected."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from explainaway.cli import main
from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    Langevin,
    bind,
    sample_posterior,
    summarise,
)
from explainaway.models import Bernoulli, Gaussian, GeneratorModel, Masked, Normal, deconvnet, mlp

NAN = float("nan")


def _model(observation: Any = None) -> GeneratorModel:
    return GeneratorModel(Normal(2), mlp(2, (3,)), observation or Gaussian(0.3))


def _no_plate(y: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(torch.zeros(len(y)), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(z, 1.0).to_event(1), obs=y)


def _discrete(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        k = pyro.sample("k", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Normal(k, 1.0), obs=y)


def _subsampled(y: Tensor) -> None:
    with pyro.plate("rows", len(y), subsample_size=2) as index:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y[index])


def _outside(y: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        z = pyro.sample("z", dist.Normal(mu, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def _no_latent(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


def _loop(y: Tensor) -> None:
    for i in pyro.plate("rows", len(y)):
        z = pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))
        pyro.sample(f"y{i}", dist.Normal(z, 1.0), obs=y[i])


def _two_plates(y: Tensor) -> None:
    with pyro.plate("one", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("two", len(y)):
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def _not_an_event(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z[:, None], torch.ones(3)), obs=y)


def _couples() -> GeneratorModel:
    class Centred(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return (z - z.mean(0)).repeat(1, 2)[:, :3]

    return GeneratorModel(Normal(2), nn.Sequential(Centred(), nn.Linear(3, 3)), Gaussian(0.3))


def _fit(model: Any, *data: Any, **more: Any) -> None:
    AlternatingBackProp(model, **more).fit(*data, epochs=1, progress=False)


def _fit_with_closure() -> None:
    network = nn.Linear(1, 1)

    def model(y: Tensor) -> None:
        with pyro.plate("rows", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(network(z[:, None])[:, 0], 1.0), obs=y)

    _fit(model, torch.zeros(3))


def _fit_without(name: str) -> None:
    model = _model(Gaussian(0.3, learn_scale=True))
    held = [p for n, p in model.named_parameters() if n != name]
    _fit(model, torch.zeros(4, 3), optimizer=torch.optim.Adam(held))


y = torch.zeros(4, 3)
TABLE: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "wrong shape",
        lambda: bind(_model(), torch.zeros(4, 5)),
        ValueError,
        r"y has shape \(1, 5\).*event shape \(3,\)",
    ),
    ("empty", lambda: bind(_model(), torch.zeros(0, 3)), ValueError, "at least one example"),
    ("no data", lambda: bind(_model()), ValueError, "at least one tensor"),
    ("scalar", lambda: bind(_model(), torch.tensor(1.0)), ValueError, "without dimensions"),
    (
        "NaN without Masked",
        lambda: bind(_model(), torch.full((4, 3), NAN)),
        ValueError,
        r"y\[0, 0\] is NaN.*write Masked\(Gaussian",
    ),
    (
        "infinity",
        lambda: bind(_model(Masked(Gaussian(1.0))), torch.full((4, 3), torch.inf)),
        ValueError,
        r"y\[0, 0\] must be finite, got inf",
    ),
    (
        "outside the support",
        lambda: bind(_model(Bernoulli()), torch.full((4, 3), 2.0)),
        ValueError,
        r"y\[0, 0\] = 2 is outside the support of the observation Bernoulli",
    ),
    ("half a pixel", lambda: bind(_model(Masked(Bernoulli())), y + 0.5), ValueError, "= 0.5 is"),
    ("mask without Masked", lambda: bind(_model(), y, mask=y == 0), ValueError, "write Masked"),
    (
        "mask of another shape",
        lambda: bind(_model(Masked(Gaussian())), y, mask=y[:, :2] == 0),
        ValueError,
        r"mask must have the shape of y, \(4, 3\), got \(4, 2\)",
    ),
    (
        "mask not boolean",
        lambda: bind(_model(Masked(Gaussian())), y, mask=torch.ones(4, 3)),
        TypeError,
        "mask must be boolean, true where y is observed, got dtype torch.float32",
    ),
    (
        "mask of other rows",
        lambda: bind(_model(Masked(Gaussian())), y, mask=y[:2] == 0),
        ValueError,
        r"mask must have the example as its first dimension, of size 4",
    ),
    ("step size", lambda: MALA(step_size=0.0), ValueError, "step_size must be a positive number"),
    ("step size", lambda: Langevin(step_size=-1.0), ValueError, r'or "auto", got -1.0'),
    ("target", lambda: HMC(target_acceptance=1.5), ValueError, "target_acceptance must lie"),
    ("leapfrog", lambda: HMC(num_leapfrog=0), ValueError, "num_leapfrog must be a positive int"),
    ("jitter", lambda: HMC(jitter=1.0), ValueError, r"jitter must lie in \[0, 1\)"),
    ("no plate", lambda: bind(_no_plate, torch.zeros(4)), ValueError, "no plate over examples"),
    (
        "discrete",
        lambda: bind(_discrete, torch.zeros(4)),
        ValueError,
        r"latent site 'k' is discrete \(Bernoulli\)",
    ),
    (
        "subsample",
        lambda: bind(_subsampled, torch.zeros(4)),
        ValueError,
        r"subsample_size=2.*batch_size",
    ),
    (
        "outside the plate",
        lambda: bind(_outside, torch.zeros(4)),
        ValueError,
        "latent site 'mu' lies outside plate 'rows': make what all examples share a pyro.param",
    ),
    ("no latent", lambda: bind(_no_latent, torch.zeros(4)), ValueError, "no latent sample site"),
    ("a loop", lambda: bind(_loop, torch.zeros(4)), ValueError, "is a Python loop"),
    ("two plates", lambda: bind(_two_plates, torch.zeros(4)), ValueError, "example_plate must say"),
    (
        "wrong plate",
        lambda: bind(_two_plates, torch.zeros(4), example_plate="three"),
        ValueError,
        r"example_plate must name a plate of the model, got 'three'; it has \['one', 'two'\]",
    ),
    (
        "no event",
        lambda: bind(_not_an_event, torch.zeros(3, 3)),
        ValueError,
        r"log density of site 'y' must have shape \(3,\)",
    ),
    (
        "lacking parameter",
        lambda: _fit_without("observation.log_scale"),
        ValueError,
        r"optimizer does not hold the parameters \['observation.log_scale'\]",
    ),
    ("parameter in a closure", _fit_with_closure, ValueError, "that have no name.*pyro.module"),
    (
        "nothing to learn",
        lambda: _fit(_model().requires_grad_(False), y),
        ValueError,
        "no parameter to learn",
    ),
    (
        "coupled",
        lambda: _fit(_couples(), torch.zeros(6, 3)),
        ValueError,
        "the model couples examples: example 0 of the batch",
    ),
    (
        "epochs",
        lambda: AlternatingBackProp(_model()).fit(y, epochs=0),
        ValueError,
        "epochs must be a positive integer, got 0",
    ),
    ("batch", lambda: AlternatingBackProp(_model(), batch_size=0), ValueError, "batch_size must"),
    (
        "steps",
        lambda: AlternatingBackProp(_model(), inference_steps=1.5),  # type: ignore[arg-type]
        ValueError,
        "inference_steps must be a positive integer, got 1.5",
    ),
    (
        "a model",
        lambda: AlternatingBackProp(3),  # type: ignore[arg-type]
        TypeError,
        "model must be callable",
    ),
    (
        "step before start",
        lambda: AlternatingBackProp(_model()).step(y, torch.arange(4)),
        RuntimeError,
        "call start",
    ),
    (
        "missing folder",
        lambda: AlternatingBackProp(_model()).fit(y, epochs=1, checkpoint="nowhere/run.pt"),
        FileNotFoundError,
        "no folder 'nowhere'",
    ),
    ("chains", lambda: sample_posterior(_model(), y, num_chains=0), ValueError, "num_chains must"),
    (
        "warmup",
        lambda: sample_posterior(_model(), y, warmup_steps=-1),
        ValueError,
        "warmup_steps must be an integer of at least 0, got -1",
    ),
    (
        "rows",
        lambda: bind(_model(), y, context={"w": torch.ones(3)}),
        ValueError,
        r"context\['w'\] must have the example as its first dimension, of size 4 as in data\[0\]",
    ),
    (
        "no draws",
        lambda: summarise(torch.randn(2, 0, 1, 1)),
        ValueError,
        r"draws must hold draws of each chain, got shape \(2, 0, 1, 1\)",
    ),
    ("scale", lambda: Gaussian(0.0), ValueError, "scale must be positive and finite, got 0.0"),
    (
        "link",
        lambda: Gaussian(1.0, inverse_link="tanh"),  # type: ignore[arg-type]
        TypeError,
        "inverse_link must be a callable",
    ),
    ("prior size", lambda: Normal(0), ValueError, "dim must be a positive integer, got 0"),
    ("prior scale", lambda: Normal(2, scale=-1.0), ValueError, "scale must be positive"),
    ("prior location", lambda: Normal(2, loc=torch.zeros(3)), ValueError, r"shape \(2,\)"),
    (
        "prior kind",
        lambda: GeneratorModel(3, mlp(2, 3), Gaussian()),  # type: ignore[arg-type]
        TypeError,
        "prior must be a Prior",
    ),
    (
        "prior without dimension",
        lambda: GeneratorModel(dist.Normal(0.0, 1.0), mlp(1, 3), Gaussian()),
        ValueError,
        "prior must have at least one dimension",
    ),
    ("observation kind", lambda: _model(Gaussian), TypeError, "observation must be"),
    (
        "network kind",
        lambda: GeneratorModel(Normal(2), torch.tanh, Gaussian()),  # type: ignore
        TypeError,
        "network must be an nn.Module",
    ),
    ("mlp size", lambda: mlp(2, (0,)), ValueError, "shape must hold positive integers"),
    ("image size", lambda: deconvnet(2, (3, 31, 31)), ValueError, "even height and width"),
    ("image shape", lambda: deconvnet(2, (31, 31)), ValueError, "channels, height, width"),
    ("latents", lambda: _model().decode(torch.zeros(4, 3)), ValueError, "latents must have shape"),
]


@pytest.mark.parametrize(
    ("make", "error", "message"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_bad_input_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_an_image_of_bytes_under_a_tanh_is_warned_about() -> None:
    images = np.arange(12, dtype=np.uint8).reshape(4, 3) * 20
    with pytest.warns(UserWarning, match=r"from 0 to 220.*only from -1 to 1.*y / 127.5 - 1"):
        bind(_model(Gaussian(0.3, torch.tanh)), images)


def test_an_example_with_nothing_observed_is_allowed() -> None:
    data = y.clone()
    data[1] = NAN
    bind(_model(Masked(Gaussian(0.3))), data)


def test_a_checkpoint_of_another_model_or_a_truncated_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    AlternatingBackProp(_model()).fit(y, epochs=1, checkpoint=path, progress=False)

    def again(model: Any, data: Tensor = y, **more: Any) -> None:
        AlternatingBackProp(model, **more).fit(data, epochs=1, checkpoint=path, progress=False)

    other = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(5,)), Gaussian(0.3))
    with pytest.raises(ValueError, match="of other work: its parameters is"):
        again(other)
    with pytest.raises(ValueError, match="of other work: its data is"):
        again(_model(), y + 1)
    with pytest.raises(ValueError, match="of other work: its kernel is MALA"):
        again(_model(), kernel=HMC())
    with pytest.raises(ValueError, match="not one of a sampling run"):
        sample_posterior(_model(), y, checkpoint=path, progress=False)
    content = torch.load(path, weights_only=True)
    del content["chains"]
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"lacks \['chains'\]: it cannot be resumed"):
        again(_model())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="truncated or not a checkpoint"):
        again(_model())


def test_an_energy_that_is_not_finite_names_the_example() -> None:
    model = _model()
    abp = AlternatingBackProp(model, batch_size=2)
    abp.start(torch.zeros(4, 3))
    assert abp.chains is not None
    abp.chains.position[3] = NAN
    with pytest.raises(ValueError, match="energy of example 3 is not finite"):
        abp.step(torch.zeros(2, 3), torch.tensor([1, 3]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--missing", "1.5"], "--missing must lie between 0 and 1"), (["--epochs", "0"], "--epochs")],
)
def test_the_command_line_says_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == 2
    assert message in capsys.readouterr().err
