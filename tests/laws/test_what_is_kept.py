"""Law 10: what is kept is checked before it is used again: files, energies, data, models."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import explainaway.inference as inference
from explainaway.inference import MALA, AlternatingBackProp, Posterior, bind, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp

Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
SETTINGS: dict[str, Any] = {"warmup_steps": 40, "num_samples": 8, "progress": False}


def _model(scale: float = 0.5, seed: int = 0) -> GeneratorModel:
    torch.manual_seed(seed)
    return GeneratorModel(Normal(2), mlp(2, (4,), hidden=(8,)), Gaussian(scale))


def _fit(path: Path, model: GeneratorModel, y: Tensor) -> Any:
    return AlternatingBackProp(model, batch_size=3).fit(
        y, epochs=1, seed=0, checkpoint=path, progress=False
    )


def _sample(path: Path, model: GeneratorModel, y: Tensor) -> Any:
    return sample_posterior(model, y, kernel=MALA(), checkpoint=path, **SETTINGS)


def _save(path: Path, model: GeneratorModel, y: Tensor) -> Any:
    if not path.exists():
        sample_posterior(model, y, kernel=MALA(), **SETTINGS).save(path)
    return Posterior.load(path, bind(model, y), MALA())


def _draws_file(path: Path, model: GeneratorModel, y: Tensor) -> Any:
    if not path.exists():
        sample_posterior(model, y, kernel=MALA(), draws_file=path, **SETTINGS)
    return Posterior.load(path, bind(model, y), MALA())


class Kept(NamedTuple):
    """A kind of file: makes it, or goes on from the one that is there; where it is asked for."""

    use: Callable[[Path, GeneratorModel, Tensor], Any]
    arguments: set[str]


FILES = {
    "checkpoint of a fit": Kept(_fit, {"AlternatingBackProp.fit(checkpoint)"}),
    "checkpoint of sampling": Kept(
        _sample, {"sample_posterior(checkpoint)", "Posterior.extend(checkpoint)"}
    ),
    "posterior": Kept(_save, {"Posterior.save(path)", "Posterior.load(path)"}),
    "draws": Kept(_draws_file, {"sample_posterior(draws_file)", "Posterior.extend(draws_file)"}),
}


ELSEWHERE = {"AlternatingBackProp.__init__(chains_file)"}
"""Whose file is checked in ``tests/inference/runs/test_files.py``."""


def _paths() -> Iterator[str]:
    """Yield the public arguments that name a file."""
    for name in inference.__all__:
        thing = getattr(inference, name)
        calls = {name: thing} if inspect.isfunction(thing) else {}
        if inspect.isclass(thing):
            calls = {
                f"{name}.{key}": member
                for key, member in inspect.getmembers(thing, inspect.isfunction)
                if not key.startswith("_") or key == "__init__"
            }
        for call, function in calls.items():
            for argument in inspect.signature(function).parameters.values():
                if re.search(r"PathLike|\bPath\b", str(argument.annotation)):
                    yield f"{call}({argument.name})"


def test_every_public_argument_that_names_a_file_is_in_these_tests() -> None:
    entered = set().union(*(kept.arguments for kept in FILES.values()))
    assert set(_paths()) == entered | ELSEWHERE


@pytest.fixture(params=FILES)
def use(request: pytest.FixtureRequest) -> Callable[[Path, GeneratorModel, Tensor], Any]:
    return FILES[request.param].use


Use = Callable[[Path, GeneratorModel, Tensor], Any]
pytestmark = pytest.mark.filterwarnings("ignore:the draws cannot be trusted")


def test_a_flipped_byte_is_refused_by_the_files_name(use: Use, tmp_path: Path) -> None:
    path = tmp_path / "kept.nc"
    use(path, _model(), Y)
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 12).round().astype(int):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"kept\.nc"):
            use(path, _model(), Y)
    path.write_bytes(content)
    use(path, _model(), Y)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (lambda: _model(scale=0.4), Y),
        (lambda: _model(seed=1), Y),
        (_model, Y + 0.5),
        (_model, Y[:5]),
    ],
    ids=["another setting", "other parameters", "other data", "fewer data"],
)
def test_another_model_or_other_data_are_refused(
    use: Use, model: Callable[[], GeneratorModel], y: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "kept.nc"
    if use is _fit and y is Y:
        pytest.skip("what a fit learns from comes from its file: test_settings.py")
    use(path, _model(), Y)
    with pytest.raises(ValueError, match=r"model|data|examples"):
        use(path, model(), y)
