"""Whatever ends a call, the state of the process and of the model is what it was."""

import random
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import MALA, AlternatingBackProp, Posterior, bind, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal

Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
Y[0, 0] = torch.nan
SHORT: dict[str, Any] = {"num_chains": 2, "warmup_steps": 4, "num_samples": 4, "progress": False}


class _Stumbles(nn.Module):
    """A network that does something at one of its calls."""

    def __init__(self, at: int, does: Callable[[], object]) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        self.at, self.does, self.calls = at, does, 0

    def forward(self, z: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.at:
            self.does()
        made: Tensor = self.inner(z)
        return made


def _fails() -> None:
    raise ArithmeticError("planted")


def _interrupted() -> None:
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


def _model(at: int, does: Callable[[], object]) -> GeneratorModel:
    torch.manual_seed(0)
    model = GeneratorModel(Normal(2), _Stumbles(at, does), Masked(Gaussian(0.5)))
    model.train()
    model.network.inner[1].eval()
    return model


def _sampled(model: GeneratorModel) -> Posterior:
    return sample_posterior(model, Y, kernel=MALA(0.1), capture=False, **SHORT)


def _stepped(model: GeneratorModel) -> None:
    loop = AlternatingBackProp(model, capture=False)
    loop.start(Y)
    loop.step(Y, torch.arange(6))


def _fitted(model: GeneratorModel, **more: Any) -> Any:
    loop = AlternatingBackProp(model, capture=False, **more)
    return loop.fit(Y, epochs=2, progress=False)


CALLS: dict[str, Callable[[GeneratorModel], Any]] = {
    "fit": _fitted,
    "fit, captured": lambda model: AlternatingBackProp(model).fit(Y, epochs=2, progress=False),
    "step": _stepped,
    "sample_posterior": _sampled,
    "bind": lambda model: bind(model, Y, capture=False)(torch.zeros(6, 2)),
    "extend": lambda model: _sampled(model).extend(2, progress=False),
    "predict": lambda model: _sampled(model).predict(seed=0),
    "impute": lambda model: _sampled(model).impute(seed=0),
    "to_arviz": lambda model: _sampled(model).to_arviz(),
    "summary": lambda model: _sampled(model).summary(),
    "model.decode": lambda model: model.decode(torch.zeros(6, 2)),
    "model.reconstruct": lambda model: model.reconstruct(torch.zeros(6, 2), observed=Y),
    "model.impute": lambda model: model.impute(Y, torch.zeros(6, 2)),
    "model.generate": lambda model: model.generate(3, seed=0, noise=True),
    "model.log_joint": lambda model: model.log_joint(Y, torch.zeros(6, 2)),
    "model.validate_data": lambda model: model.validate_data(Y),
}


def _state(model: GeneratorModel) -> dict[str, Any]:
    return {
        "torch's random state": torch.random.get_rng_state().tolist(),
        "NumPy's": repr(np.random.get_state()),
        "Python's": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "Pyro's handlers": list(pyro.poutine.runtime._PYRO_STACK),
        "Pyro's parameters": sorted(pyro.get_param_store().keys()),
        "validation": torch.distributions.Distribution._validate_args,
        "signals": signal.getsignal(signal.SIGINT),
        "filters of warnings": list(warnings.filters),
        "modes": [part.training for part in model.modules()],
        "what is learned": [parameter.requires_grad for parameter in model.parameters()],
        "hooks": [len(part._forward_hooks) for part in model.modules()],
    }


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Let torch import what it imports late, which may add filters of warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _fitted(_model(0, _fails))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("at", [0, 1, 2, 5, 12, 15, 19])
@pytest.mark.parametrize("does", [_fails, _interrupted])
@pytest.mark.parametrize("call", CALLS)
def test_state_is_as_before_whatever_ends_a_call(
    call: str, does: Callable[[], object], at: int
) -> None:
    model = _model(at, does)
    before = _state(model)
    try:
        CALLS[call](model)
    except (ArithmeticError, KeyboardInterrupt):
        assert at > 0
    after = _state(model)
    assert {name: after[name] for name in before if after[name] != before[name]} == {}


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_that_cannot_be_written_leaves_state_alone(tmp_path: Path) -> None:
    model = _model(0, _fails)
    before = _state(model)
    with pytest.raises(FileNotFoundError):
        AlternatingBackProp(model).fit(
            Y, epochs=1, checkpoint=tmp_path / "nowhere" / "run", progress=False
        )
    assert _state(model) == before
