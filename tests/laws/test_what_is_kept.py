"""Law 10: what is kept is checked before it is used again: files, energies, data, models."""

import ast
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
from explainaway.inference.runs import checkpoint, posterior_file
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, Sensed, mlp
from explainaway.models.operators import PerExample

Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
SETTINGS: dict[str, Any] = {"warmup_steps": 40, "num_samples": 8, "progress": False}


def _model(scale: float = 0.5, seed: int = 0) -> GeneratorModel:
    torch.manual_seed(seed)
    return GeneratorModel(Normal(2), mlp(2, (4,), hidden=(8,)), Gaussian(scale))


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3)


def _fit(path: Path, model: GeneratorModel, y: Tensor, **more: Any) -> Any:
    # One by name, whose rate does not fall: a prolonged fit is one that goes on.
    loop = AlternatingBackProp(model, batch_size=3, optimizer=_adam, **more)
    epochs = 2 if path.exists() else 1
    return loop.fit(y, epochs=epochs, seed=0, checkpoint=path, progress=False)


def _chains_file(path: Path, model: GeneratorModel, y: Tensor) -> Any:
    return _fit(path, model, y, chains_file=path.with_suffix(".chains"))


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
    """A kind of file: makes it, or goes on from the one that is there; where it is asked for.

    ``pattern`` is the name of what is kept, where that is not the path itself.
    """

    use: Callable[[Path, GeneratorModel, Tensor], Any]
    arguments: set[str]
    pattern: str = "kept.nc"


FILES = {
    "checkpoint of a fit": Kept(_fit, {"AlternatingBackProp.fit(checkpoint)"}),
    "checkpoint of sampling": Kept(
        _sample, {"sample_posterior(checkpoint)", "Posterior.extend(checkpoint)"}
    ),
    "posterior": Kept(_save, {"Posterior.save(path)", "Posterior.load(path)"}),
    "chains of a fit": Kept(
        _chains_file, {"AlternatingBackProp.__init__(chains_file)"}, "kept.nc.chains-*"
    ),
    "draws": Kept(_draws_file, {"sample_posterior(draws_file)", "Posterior.extend(draws_file)"}),
}


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
    assert set(_paths()) == entered


Use = Callable[[Path, GeneratorModel, Tensor], Any]


@pytest.fixture(params=FILES)
def kept(request: pytest.FixtureRequest) -> Kept:
    return FILES[request.param]


@pytest.fixture
def use(kept: Kept) -> Use:
    return kept.use


pytestmark = pytest.mark.filterwarnings("ignore:the draws cannot be trusted")


def test_a_flipped_byte_is_refused_by_the_files_name(kept: Kept, tmp_path: Path) -> None:
    path = tmp_path / "kept.nc"
    kept.use(path, _model(), Y)
    (file,) = tmp_path.glob(kept.pattern)
    content = file.read_bytes()
    for place in np.linspace(0, len(content) - 1, 12).round().astype(int):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"kept\.nc"):
            kept.use(path, _model(), Y)
    file.write_bytes(content)
    kept.use(path, _model(), Y)


def test_a_file_of_another_version_is_refused_with_what_to_do(
    use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.nc"
    for module in (checkpoint, posterior_file):
        if hasattr(module, "FORMAT"):
            monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    use(path, _model(), Y)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"kept\.nc.* format \d+.*version"):
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
    if use in (_fit, _chains_file) and y is Y:
        pytest.skip("what a fit learns from comes from its file: test_settings.py")
    use(path, _model(), Y)
    with pytest.raises(ValueError, match=r"model|data|examples"):
        use(path, model(), y)


HIDDEN = torch.rand(6, 4, generator=torch.Generator().manual_seed(2)) < 0.3
LEARNS: dict[str, Any] = {"epochs": 3, "seed": 0, "progress": False}
Change = Callable[[], None]


def _masked() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (4,)), Masked(Gaussian(0.5)))


def _sensed() -> GeneratorModel:
    torch.manual_seed(0)
    observation = Sensed(Gaussian(0.5), PerExample((4,), (4,)))
    return GeneratorModel(Normal(2), mlp(2, (4,)), observation)


def _energies(model: GeneratorModel, change: Change, y: Any, **named: Any) -> Any:
    potential = bind(model, y, **named)
    change()
    return potential(torch.ones(6, 2))


def _extended(model: GeneratorModel, change: Change, y: Any, **named: Any) -> Any:
    more = {**SETTINGS, "num_samples": 3, "kernel": MALA(), "capture": False, **named}
    posterior = sample_posterior(model, y, **more)
    change()
    return posterior.extend(3, progress=False).position, posterior.predict(2)


def _learned(model: GeneratorModel, change: Change, y: Any, **named: Any) -> Any:
    loop = AlternatingBackProp(model, batch_size=3, capture=False)
    fit = loop.fit(y, callbacks=[lambda *_: change()], **LEARNS, **named)
    return fit.latents, torch.tensor(fit.history["loss"]), fit.history.get("validation_energy", [])


def _stepped(model: GeneratorModel, change: Change, y: Any, **named: Any) -> Any:
    own = {"ids"} & named.keys()
    loop = AlternatingBackProp(model, capture=False)
    loop.start(y, **named)
    batch = {"y": torch.as_tensor(y).clone(), **{k: _copy(v) for k, v in named.items()}}
    for name in own:
        del batch[name]
    change()
    loop.step(batch, torch.arange(6))
    return loop.chains.position  # type: ignore[union-attr]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return value.clone() if isinstance(value, Tensor) else value


CALLS: dict[str, Callable[..., Any]] = {
    "bind": _energies,
    "sample_posterior": _extended,
    "AlternatingBackProp.fit": _learned,
    "AlternatingBackProp.start": _stepped,
}
"""What each does with data, something happening on the way."""

GIVEN: dict[str, Callable[[], tuple[GeneratorModel, dict[str, Any], Any]]] = {
    "data": lambda: (_model(), {"y": (y := Y.clone())}, y),
    "data of an array": lambda: (_model(), {"y": (y := Y.numpy().copy())}, y),
    "mask": lambda: (_masked(), {"y": Y, "mask": (mask := ~HIDDEN)}, mask),
    "context": lambda: (
        _sensed(),
        {"y": Y, "context": {"operator": (a := torch.eye(4).repeat(6, 1, 1))}},
        a,
    ),
    "ids": lambda: (_model(), {"y": Y, "ids": (ids := torch.arange(6) + 5)}, ids),
    "latents": lambda: (_model(), {"y": Y, "latents": (z := torch.ones(6, 2))}, z),
    "validation": lambda: (_model(), {"y": Y, "validation": (v := Y[:3].clone())}, v),
    "tuning": lambda: (
        _model(),
        {"y": Y, "tuning": {"step_size": (s := torch.full((6,), 0.3))}, "warmup_steps": 0},
        s,
    ),
}
"""What a call may keep: a model, all that it is given, and of that what its owner changes."""


def _kept_in_memory() -> Iterator[tuple[str, str]]:
    """Yield the public calls with what they are given that later calls may read."""
    for call in CALLS:
        function: Any = inference
        for part in call.split("."):
            function = getattr(function, part)
        for argument in inspect.signature(function).parameters:
            for given in GIVEN:
                if given.split(" ")[0] == argument:
                    yield call, given


@pytest.mark.parametrize(("call", "given"), list(_kept_in_memory()))
def test_what_its_owner_changes_afterwards_does_not_matter(call: str, given: str) -> None:
    """Data, masks, contexts, numbers, latents and tunings are as they were when they were given."""

    def result(changes: bool) -> list[Any]:
        model, arguments, owned = GIVEN[given]()

        def change() -> None:
            if changes:
                owned[...] = ~owned if owned.dtype == torch.bool else owned * 2 + 1

        found = CALLS[call](model, change, **arguments)
        return list(found) if isinstance(found, tuple) else [found]

    for one, other in zip(result(True), result(False), strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_every_public_call_that_is_given_data_is_in_these_tests() -> None:
    takes = set()
    for name in inference.__all__:
        thing = getattr(inference, name)
        members = inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else []
        calls = {f"{name}.{key}": member for key, member in members if not key.startswith("_")}
        for call, function in (calls or {name: thing}).items():
            if inspect.isfunction(function) and "data" in inspect.signature(function).parameters:
                takes.add(call)
    # `on` takes a potential's own data, which nobody else has.
    assert takes - {"Potential.on"} == set(CALLS)


def test_the_latents_of_other_examples_are_refused() -> None:
    fit = AlternatingBackProp(_model()).fit(Y, **LEARNS)
    with pytest.raises(ValueError, match=r"latents of 'z' must have shape \(5, 2\)"):
        AlternatingBackProp(_model()).fit(Y[:5], latents=fit, **LEARNS)


IN_THEIR_OWN_FILES = {
    "graphs, at every call of a potential": (
        "inference/speed/test_judge.py",
        "test_a_potential_that_is_kept_gives_the_models_energy_at_every_call",
    ),
    "graphs, after callbacks": (
        "inference/speed/test_judge.py",
        "test_a_callback_that_changes_what_nobody_sees_has_its_effect_at_once",
    ),
    "graphs, in a loop of one's own": (
        "inference/speed/test_judge.py",
        "test_a_loop_of_ones_own_may_change_the_model_between_two_steps",
    ),
    "energies, before chains go on": (
        "inference/test_shared_data.py",
        "test_energies_are_checked_before_chains_go_on",
    ),
    "settings, in files": (
        "inference/runs/test_settings.py",
        "test_a_file_made_with_other_settings_is_refused",
    ),
    "files of earlier formats": (
        "inference/runs/test_checkpoint.py",
        "test_files_of_an_older_format_are_refused_with_what_to_do",
    ),
    "files of other programs": (
        "inference/runs/test_files.py",
        "test_other_files_are_refused_by_name",
    ),
}
"""The rest of the law, which takes longer."""


@pytest.mark.parametrize("what", IN_THEIR_OWN_FILES)
def test_the_rest_of_the_law_is_where_it_is_said_to_be(what: str) -> None:
    file, name = IN_THEIR_OWN_FILES[what]
    tree = ast.parse((Path(__file__).parents[1] / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
